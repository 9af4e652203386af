//! Completions and manual pages.

use std::fs;
use std::process::Command;

use super::{refuse, succeed, workplace};

#[test]
fn completions_know_every_command_in_every_shell() {
    let dir = workplace();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = succeed(dir.path(), &["completions", shell]);
        for word in ["impute", "completions", "guidance", "reconstruct"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    refuse(dir.path(), &["completions", "tcsh"], 2);
}

#[test]
fn bash_completes_commands_and_options() {
    let dir = workplace();
    fs::write(dir.path().join("script"), succeed(dir.path(), &["completions", "bash"])).expect("a file");
    let complete = |words: &str| {
        let code = format!(
            "source ./script; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _pushforward pushforward \"${{COMP_WORDS[COMP_CWORD]}}\" \"\"; echo \"${{COMPREPLY[@]}}\""
        );
        let out = Command::new("bash").current_dir(dir.path()).args(["-c", &code]).output();
        // Other systems have no bash.
        out.ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    if let (Some(commands), Some(options)) = (complete("pushforward imp"), complete("pushforward sample --whe")) {
        assert_eq!((&commands[..], &options[..]), ("impute", "--where-file --where"));
    }
}

#[test]
fn manual_pages_are_one_a_command_with_its_options() {
    let dir = workplace();
    let written = succeed(dir.path(), &["man", "--out", "man/man1"]);
    assert!(written.lines().next() == Some("man/man1/pushforward.1") && written.lines().count() > 20, "{written}");
    let page = fs::read_to_string(dir.path().join("man/man1/pushforward-models-pack.1")).expect("a page");
    assert!(page.contains(".TH pushforward-models-pack 1") && page.contains("machine"), "{page}");
    fs::write(dir.path().join("file"), "").expect("a file");
    let message = refuse(dir.path(), &["man", "--out", "file/man1"], 1);
    assert!(message.contains("file/man1"), "{message}");
}

//! The models that are fetched: one file each, in the folder `models` of the repository, with size and checksum.

use crate::sources::{Content, Kind, RemoteFile, Source};

/// Address of the folder.
const FOLDER: &str = "https://raw.githubusercontent.com/pushforward/pushforward/main/models/";

const fn packed(name: &'static str, bytes: u64, sha256: &'static str) -> RemoteFile {
    RemoteFile { name, bytes: Some(bytes), sha256: Some(sha256), kind: Kind::Data(Content::Any) }
}

const fn model(name: &'static str, title: &'static str, licence: &'static str, files: &'static [RemoteFile]) -> Source {
    Source { name, folder: "models", title, licence, mirrors: &[FOLDER], files }
}

/// Their table; `experiments/train_models.sh` makes the files.
pub(crate) static FETCHED: &[Source] = &[
    model(
        "qm9",
        "molecules of QM9, up to nine heavy atoms C N O F, at the law of the data",
        "usually cited as CC0 or CC BY 4.0",
        &[packed("qm9.safetensors.gz", 2_555_113, "8ab4bc7a2dbca43ee9eda2f7d0add7a0e353d12f7f4f5dd54073c8fd922ee9b9")],
    ),
    model(
        "fashion",
        "clothes in black and white, 28 x 28, told their labels or any of their pixels",
        "MIT",
        &[packed(
            "fashion.safetensors.gz",
            3_260_576,
            "c9bf74b9ea84b53ebab7676ac88605a7a71d70401f2db1f6b344bdc910a66886",
        )],
    ),
    model(
        "fashion-classifier",
        "clothes of Fashion-MNIST in black and white: features for distances, classes for rewards",
        "MIT",
        &[packed(
            "fashion-classifier.safetensors.gz",
            149_583,
            "97879d7eb98318fde34bc12b329dbad7cd27ef834340ba9e82c219649825c881",
        )],
    ),
    model(
        "fashion-aef-2",
        "clothes in grey: an autoencoder of invertible layers, latent of 2",
        "MIT",
        &[packed(
            "fashion-aef-2.safetensors.gz",
            529_665,
            "42aa5e781fe2c97e40ecfefde9ee298efaf0d591d0c5839223a6507cfd5c55c1",
        )],
    ),
    model(
        "fashion-aef-8",
        "clothes in grey: an autoencoder of invertible layers, latent of 8",
        "MIT",
        &[packed(
            "fashion-aef-8.safetensors.gz",
            716_520,
            "5494812e93d4e9f61749bbebb519cbdb34a0283f02f40bd11ff6f3bf8f3b2f72",
        )],
    ),
    model(
        "fashion-aef-32",
        "clothes in grey: an autoencoder of invertible layers, latent of 32",
        "MIT",
        &[packed(
            "fashion-aef-32.safetensors.gz",
            1_415_045,
            "7446abc88a8535657aabe3b5da873bf4a5aa2e56c675fad4648914785e1045ae",
        )],
    ),
    model(
        "mnist-aef",
        "handwritten digits in grey: an autoencoder of invertible layers, latent of 8",
        "CC BY-SA 3.0",
        &[packed(
            "mnist-aef.safetensors.gz",
            717_104,
            "ff15710f85f6c3d4a88152cf72285b0318f610abfbe22a53f2b4a2f15a358db6",
        )],
    ),
    model(
        "wikinews",
        "English news, a to z and the space, windows of 64 letters, told any of them",
        "English Wikinews, CC BY 2.5",
        &[packed(
            "wikinews.safetensors.gz",
            822_846,
            "33d2bceecbad92bce438885d2b815fcb7b6b6af29794efadab1da8237cab1767",
        )],
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pushforward::hash::sha256;

    use super::*;

    #[test]
    fn rows_are_the_files_of_the_repository() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        for source in FETCHED {
            let [file] = source.files else { panic!("{} is one file", source.name) };
            let path = folder.join(file.name);
            assert_eq!(file.name, format!("{}.safetensors.gz", source.name));
            let bytes = std::fs::read(&path).expect("the file of a row");
            assert_eq!(Some(bytes.len() as u64), file.bytes, "{}", path.display());
            assert_eq!(file.sha256, Some(&*sha256([bytes])), "{}", path.display());
        }
        let listed = std::fs::read_dir(&folder).expect("the folder").filter_map(Result::ok);
        let packed = listed.filter(|entry| entry.file_name().to_string_lossy().ends_with(".safetensors.gz"));
        assert_eq!(packed.count(), FETCHED.len(), "every file of {} has a row", folder.display());
    }
}

//! The pictures of a folder, or of its subfolders, one for each class.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::data::DataError;

/// Most classes.
const CLASSES: usize = 256;

/// Whether a file name has the extension of a picture.
pub fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Names of the pictures of a folder, sorted; at least one.
pub(super) fn names(folder: &Path) -> Result<Vec<OsString>, DataError> {
    let unreadable = |source| DataError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        // Some systems add a hidden file with the same extension for every file.
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && is_picture(Path::new(&name)) && entry.path().is_file() {
            names.push(name);
        }
    }
    if names.is_empty() {
        let problem = "the folder holds no .png, .jpg or .jpeg file".to_owned();
        return Err(DataError::Picture { path: folder.to_owned(), problem });
    }
    names.sort_unstable();
    Ok(names)
}

/// Names of the subfolders of a folder that are classes: those that hold pictures, if the folder itself holds none.
///
/// # Errors
/// If there are no pictures in either.
///
/// # Examples
/// ```
/// use pushforward::data::images::pictures::{classes, is_picture};
/// let dir = tempfile::tempdir()?;
/// for class in ["cat", "ant"] {
///     std::fs::create_dir(dir.path().join(class))?;
///     std::fs::write(dir.path().join(class).join("1.png"), b"not read")?;
/// }
/// assert_eq!(classes(dir.path())?, ["ant", "cat"]);
/// assert!(is_picture("cat/1.png".as_ref()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn classes(folder: &Path) -> Result<Vec<String>, DataError> {
    Listing::of(folder).map(|listing| listing.classes)
}

/// The pictures of a data set, and their classes.
pub(super) struct Listing {
    /// Paths within the folder, sorted.
    pub(super) names: Vec<OsString>,
    /// Names of the subfolders that are classes; empty if the pictures lie in the folder itself.
    pub(super) classes: Vec<String>,
}

impl Listing {
    /// The pictures of a folder or, if it has none itself, those of its subfolders.
    ///
    /// # Errors
    /// If there are none, or a picture beside subfolders of pictures leaves open what is meant.
    pub(super) fn of(folder: &Path) -> Result<Self, DataError> {
        let unreadable = |source| DataError::Read { path: folder.to_owned(), source };
        let mut subfolders = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && entry.path().is_dir() {
                subfolders.push(entry.file_name());
            }
        }
        subfolders.sort_unstable();
        let (own, none) = (names(folder), subfolders.is_empty());
        let (mut all, mut classes) = (Vec::new(), Vec::new());
        for subfolder in subfolders {
            match names(&folder.join(&subfolder)) {
                Ok(names) => {
                    all.extend(names.into_iter().map(|name| Path::new(&subfolder).join(name).into_os_string()));
                    classes.push(subfolder.to_string_lossy().into_owned());
                }
                Err(error @ DataError::Read { .. }) => return Err(error),
                // Folders of something else are no classes.
                Err(_) => {}
            }
        }
        if let (Ok(own), Some(class)) = (&own, classes.first()) {
            let problem = format!(
                "{} pictures in the folder itself, beside the folder {class} of pictures: move them into a folder of their class",
                own.len()
            );
            return Err(DataError::Picture { path: folder.to_owned(), problem });
        }
        if own.is_ok() || none {
            return Ok(Self { names: own?, classes: Vec::new() });
        }
        if all.is_empty() || classes.len() > CLASSES {
            let n = classes.len();
            let problem = match n {
                0 => "neither the folder nor a folder in it holds a .png, .jpg or .jpeg file".to_owned(),
                _ => format!("{n} folders of pictures, and at most {CLASSES} classes are possible"),
            };
            return Err(DataError::Picture { path: folder.to_owned(), problem });
        }
        all.sort_unstable();
        Ok(Self { names: all, classes })
    }

    /// The label of a picture: the place of its folder among the classes; `None` without classes.
    pub(super) fn label(&self, name: &OsStr) -> Option<u8> {
        let class = Path::new(name).parent()?.to_string_lossy().into_owned();
        self.classes.iter().position(|known| *known == class).map(|label| label as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subfolders_are_classes_if_the_folder_has_no_pictures() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        };
        ["cat/2.png", "cat/1.PNG", "ant/9.jpg", "notes/read.txt", ".hidden/3.png"].iter().for_each(|name| put(name));
        let found = Listing::of(dir.path()).unwrap();
        assert_eq!(found.classes, ["ant", "cat"]);
        assert_eq!(found.names, ["ant/9.jpg", "cat/1.PNG", "cat/2.png"]);
        let labels: Vec<Option<u8>> = found.names.iter().map(|name| found.label(name)).collect();
        assert_eq!(labels, [Some(0), Some(1), Some(1)]);
        put("own.png");
        let message = Listing::of(dir.path()).err().unwrap().to_string();
        assert!(message.contains("1 pictures in the folder itself, beside the folder ant"), "{message}");
        let message = Listing::of(&dir.path().join("notes")).err().unwrap().to_string();
        assert!(message.contains("the folder holds no .png"), "{message}");
        std::fs::create_dir(dir.path().join("notes/deeper")).unwrap();
        assert!(Listing::of(&dir.path().join("notes")).err().unwrap().to_string().contains("neither the folder"));
    }
}

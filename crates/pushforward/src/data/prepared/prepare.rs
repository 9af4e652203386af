//! Preparing a set: by one process, or by several, each of which does a share.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::data::prepared::job::{Job, Role, Share, Watch};
use crate::data::prepared::writer::check_free;
use crate::data::{DataConfig, DataError, Folders};

impl DataConfig {
    /// Reads a set in a stream, whatever its size, and writes it into the folder `out` as a
    /// [prepared set](crate::data::prepared). `watch` is told what is done, and may stop it.
    ///
    /// # Errors
    /// If the set is not one that is prepared, cannot be read or not be written; nothing is left in `out` then.
    pub fn prepare<'a>(
        &self,
        folders: impl Into<Folders<'a>>,
        out: &Path,
        watch: &mut Watch<'_>,
    ) -> Result<(), DataError> {
        check_free(out)?;
        self.prepare_as(Role::Alone, folders.into(), out, watch)
    }

    /// As [`Self::prepare`], but makes only the items of a share of the source, and writes them to `file`, for
    /// [`Self::prepare_from`]. Every process reads the whole source, and makes what all items have in common (symbols, columns,
    /// labels) from all of it.
    ///
    /// # Errors
    /// Likewise; `file` is not written then.
    ///
    /// # Panics
    /// Unless `share.index < share.of`.
    ///
    /// # Examples
    /// ```
    /// use std::ops::ControlFlow;
    /// use pushforward::data::DataConfig;
    /// use pushforward::data::prepared::Share;
    /// let dir = tempfile::tempdir()?;
    /// let here = |name: &str| dir.path().join(name);
    /// std::fs::write(here("a.txt"), "Many hands make light work. ".repeat(60))?;
    /// let source: DataConfig = toml::from_str("set = 'text'\npath = 'a.txt'\nlength = 16")?;
    /// let go_on = &mut |_: &str, _: u64, _: u64| ControlFlow::Continue(());
    /// source.prepare(dir.path(), &here("alone"), go_on)?;
    ///
    /// // By two processes, in whatever order.
    /// let files = [here("0.items"), here("1.items")];
    /// for (index, file) in files.iter().enumerate().rev() {
    ///     source.prepare_share(dir.path(), Share { index, of: 2 }, file, go_on)?;
    /// }
    /// source.prepare_from(dir.path(), &files, &here("both"), go_on)?;
    /// for name in ["index.json", "train-00000.safetensors"] {
    ///     assert_eq!(std::fs::read(here("alone").join(name))?, std::fs::read(here("both").join(name))?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prepare_share<'a>(
        &self,
        folders: impl Into<Folders<'a>>,
        share: Share,
        file: &Path,
        watch: &mut Watch<'_>,
    ) -> Result<(), DataError> {
        assert!(share.index < share.of, "share {} of {}: they are counted from 0", share.index, share.of);
        self.prepare_as(Role::Share(share), folders.into(), file, watch)
    }

    /// Writes the set whose shares, all of them and in order, are in `files`: byte for byte what [`Self::prepare`] writes.
    ///
    /// # Errors
    /// As [`Self::prepare`], or if a file is damaged or is not the share of its place: of other settings, of files that have changed, or
    /// of another number of shares.
    pub fn prepare_from<'a>(
        &self,
        folders: impl Into<Folders<'a>>,
        files: &[PathBuf],
        out: &Path,
        watch: &mut Watch<'_>,
    ) -> Result<(), DataError> {
        check_free(out)?;
        self.prepare_as(Role::Join(files), folders.into(), out, watch)
    }

    fn prepare_as(
        &self,
        role: Role<'_>,
        folders: Folders<'_>,
        out: &Path,
        watch: &mut Watch<'_>,
    ) -> Result<(), DataError> {
        let of = serde_json::to_value(self).expect("settings are names and numbers");
        let job = Job { of, out, watch, role, turn: Rc::default() };
        match self {
            Self::Text8(config) => config.prepare(folders.data, job),
            Self::Text(config) => config.prepare(folders.data, job),
            Self::Sequences(config) => config.prepare(folders, job),
            Self::Table(config) => config.prepare(folders, job),
            Self::Qm9(config) => config.prepare_qm9(folders, job),
            Self::Zinc250k(config) => config.prepare_zinc250k(folders, job),
            Self::Molecules(config) => config.prepare(folders, job),
            _ => Err(DataError::Setting {
                key: "set",
                problem: format!(
                    "`{}` is not prepared: text, tables, sequences and molecules from files are",
                    self.name()
                ),
            }),
        }
    }
}

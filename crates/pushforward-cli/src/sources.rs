//! The public data sets that `data fetch` knows: addresses, sizes and checksums.
//!
//! Checksums and sizes are those of the files as published. If several public catalogues agree on a checksum, it is
//! pinned here; otherwise the file is checked by its structure, and the program says so.

/// A data set that can be downloaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    /// Name on the command line.
    pub(crate) name: &'static str,
    /// Folder under the data folder.
    pub(crate) folder: &'static str,
    /// One line on what it is.
    pub(crate) title: &'static str,
    /// Licence as commonly stated.
    pub(crate) licence: &'static str,
    /// Addresses that a file's name is appended to, the preferred one first.
    pub(crate) mirrors: &'static [&'static str],
    /// Its files, in order of download.
    pub(crate) files: &'static [RemoteFile],
}

/// One file of a data set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteFile {
    /// Name at the source and on disk.
    pub(crate) name: &'static str,
    /// Size as published, if attested.
    pub(crate) bytes: Option<u64>,
    /// SHA-256 in lower-case hexadecimal, if attested.
    pub(crate) sha256: Option<&'static str>,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// What a downloaded file is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// The data itself.
    Data(Content),
    /// A zip archive, with the members to extract.
    Zip(&'static [Member]),
    /// A gzip-compressed tar archive, with the members to extract.
    TarGz(&'static [Member]),
}

impl Kind {
    /// The members to extract; empty for plain data.
    pub(crate) fn members(&self) -> &'static [Member] {
        match self {
            Self::Data(_) => &[],
            Self::Zip(members) | Self::TarGz(members) => members,
        }
    }
}

/// A file inside an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// File name without folders, in the archive and on disk.
    pub(crate) name: &'static str,
    /// Size when unpacked.
    pub(crate) bytes: u64,
    /// Its expected structure.
    pub(crate) content: Content,
}

/// Expected structure of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Not checked: the checksum suffices.
    Any,
    /// Only the letters a to z and spaces.
    Letters,
    /// Lines of text: the first begins with `header`, and `rows` follow it.
    Table {
        /// Start of the first line.
        header: &'static str,
        /// Lines after the first.
        rows: u64,
    },
}

const fn idx(name: &'static str, bytes: u64, sha256: &'static str) -> RemoteFile {
    RemoteFile { name, bytes: Some(bytes), sha256: Some(sha256), kind: Kind::Data(Content::Any) }
}

const fn cifar_batch(name: &'static str) -> Member {
    // 10,000 records of one label and 3x32x32 bytes.
    Member { name, bytes: 30_730_000, content: Content::Any }
}

/// Every data set that can be fetched, in the order `data list` shows.
pub(crate) const SOURCES: &[Source] = &[
    Source {
        name: "mnist",
        folder: "mnist",
        title: "MNIST: 70,000 handwritten digits, 28x28 grey",
        licence: "CC BY-SA 3.0",
        mirrors: &[
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        files: &[
            idx(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            idx(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            idx(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            idx("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ],
    },
    Source {
        name: "fashion-mnist",
        folder: "fashion_mnist",
        title: "Fashion-MNIST: 70,000 pictures of clothes, 28x28 grey",
        licence: "MIT",
        mirrors: &[
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ],
        files: &[
            idx(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            idx(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            idx(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            idx("t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ],
    },
    Source {
        name: "kmnist",
        folder: "kmnist",
        title: "Kuzushiji-MNIST: 70,000 cursive Japanese characters, 28x28 grey",
        licence: "CC BY-SA 4.0",
        mirrors: &["https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
        files: &[
            idx(
                "train-images-idx3-ubyte.gz",
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            idx(
                "train-labels-idx1-ubyte.gz",
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
            idx(
                "t10k-images-idx3-ubyte.gz",
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            idx("t10k-labels-idx1-ubyte.gz", 5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ],
    },
    Source {
        name: "cifar10",
        folder: "cifar10",
        title: "CIFAR-10: 60,000 photographs, 32x32 colour (binary version)",
        licence: "none stated; cite Krizhevsky, Learning multiple layers of features from tiny images, 2009",
        mirrors: &["https://www.cs.toronto.edu/~kriz/"],
        files: &[RemoteFile {
            name: "cifar-10-binary.tar.gz",
            bytes: Some(170_052_171),
            sha256: Some("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
            kind: Kind::TarGz(&[
                cifar_batch("data_batch_1.bin"),
                cifar_batch("data_batch_2.bin"),
                cifar_batch("data_batch_3.bin"),
                cifar_batch("data_batch_4.bin"),
                cifar_batch("data_batch_5.bin"),
                cifar_batch("test_batch.bin"),
            ]),
        }],
    },
    Source {
        name: "text8",
        folder: "text8",
        title: "text8: 100,000,000 characters of English Wikipedia, a to z and space",
        licence: "Wikipedia text: GFDL and CC BY-SA 3.0",
        mirrors: &["http://mattmahoney.net/dc/", "https://data.deepai.org/"],
        files: &[RemoteFile {
            name: "text8.zip",
            bytes: Some(31_344_016),
            sha256: Some("a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"),
            kind: Kind::Zip(&[Member { name: "text8", bytes: 100_000_000, content: Content::Letters }]),
        }],
    },
    Source {
        name: "qm9",
        folder: "qm9",
        title: "QM9: 133,885 molecules of up to 9 heavy atoms, SMILES and properties as CSV",
        licence: "usually cited as CC0 or CC BY 4.0",
        mirrors: &["https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/"],
        files: &[RemoteFile {
            name: "qm9.csv",
            bytes: None,
            sha256: None,
            kind: Kind::Data(Content::Table { header: "mol_id,smiles,", rows: 133_885 }),
        }],
    },
    Source {
        name: "zinc250k",
        folder: "zinc250k",
        title: "ZINC250k: 249,455 drug-like molecules, SMILES and three properties as CSV",
        licence: "ZINC: free to use, not to be redistributed",
        mirrors: &[
            "https://raw.githubusercontent.com/aspuru-guzik-group/chemical_vae/master/models/zinc_properties/",
            "https://raw.githubusercontent.com/aspuru-guzik-group/chemical_vae/37b9f96470d4471c0593cffefa448e0a8a184ef6/models/zinc_properties/",
        ],
        files: &[idx(
            "250k_rndm_zinc_drugs_clean_3.csv",
            22_606_589,
            "35e3f1a52b1badc0697e373d73a18ad773f415936ff992f4c6baa2e067b3e6ae",
        )],
    },
];

/// The source of that name; `_` and `-` are the same, and so are capital and small letters.
pub(crate) fn find(name: &str) -> Option<&'static Source> {
    let name = name.to_lowercase().replace('_', "-");
    SOURCES.iter().find(|source| source.name == name)
}

/// All names, for messages.
pub(crate) fn names() -> String {
    SOURCES.iter().map(|source| source.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_found_in_either_spelling() {
        for source in SOURCES {
            assert_eq!(find(source.name).unwrap().name, source.name);
        }
        assert_eq!(find("Fashion_MNIST").unwrap().name, "fashion-mnist");
        assert!(find("imagenet").is_none());
    }

    #[test]
    fn names_and_folders_are_unique() {
        let unique = |field: fn(&Source) -> &'static str| SOURCES.iter().map(field).collect::<HashSet<_>>().len();
        assert_eq!((unique(|source| source.name), unique(|source| source.folder)), (SOURCES.len(), SOURCES.len()));
    }

    #[test]
    fn checksums_and_addresses_are_well_formed() {
        let mut checksums = HashSet::new();
        for source in SOURCES {
            assert!(!source.mirrors.is_empty() && !source.files.is_empty(), "{}", source.name);
            assert!(source.mirrors.iter().all(|url| url.starts_with("http") && url.ends_with('/')), "{}", source.name);
            for checksum in source.files.iter().filter_map(|file| file.sha256) {
                assert_eq!(checksum.len(), 64, "{checksum}");
                assert!(checksum.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)), "{checksum}");
                assert!(checksums.insert(checksum), "{checksum} stands twice");
            }
        }
    }

    /// A download goes on from one mirror to the next in the same partial file, and may come over plain HTTP: both are
    /// sound only under a checksum.
    #[test]
    fn files_without_a_checksum_have_one_encrypted_source_and_a_structure() {
        for source in SOURCES {
            for file in source.files.iter().filter(|file| file.sha256.is_none()) {
                assert_eq!(source.mirrors.len(), 1, "{}", source.name);
                assert!(source.mirrors[0].starts_with("https://"), "{}", source.name);
                assert!(!matches!(file.kind, Kind::Data(Content::Any)), "{}", source.name);
            }
        }
    }
}

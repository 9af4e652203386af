//! Names of labels for people.

use crate::data::config::DataConfig;
#[cfg(feature = "chem")]
use crate::data::molecules::MoleculeLabelling;
#[cfg(feature = "chem")]
use crate::data::molecules::labels::MoleculeLabel;
#[cfg(feature = "chem")]
use crate::data::own_labels::bin_names;

/// Classes of Fashion-MNIST, in their order (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747).
const FASHION: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
/// Classes of Kuzushiji-MNIST, in their order (Clanuwat et al. 2018, arXiv 1812.01718).
const KUZUSHIJI: [&str; 10] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"];
/// Classes of CIFAR-10, in their order.
const CIFAR: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

impl DataConfig {
    /// What each of `count` labels stands for; the numbers themselves where they say nothing else.
    ///
    /// # Examples
    /// ```
    /// use pushforward::data::DataConfig;
    /// let names = |text: &str, count| Ok::<_, toml::de::Error>(toml::from_str::<DataConfig>(text)?.label_names(count));
    /// assert_eq!(names("set = 'cifar10'", 10)?[3], "cat");
    /// let rings = names("set = 'qm9'\nlabel = { by = 'rings', edges = [1.0, 2.0] }", 3)?;
    /// assert_eq!(rings, ["rings < 1", "1 <= rings < 2", "2 <= rings"]);
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn label_names(&self, count: usize) -> Vec<String> {
        let known = match self.source() {
            Self::FashionMnist(_) => FASHION.map(str::to_owned).to_vec(),
            Self::Kmnist(_) => KUZUSHIJI.map(str::to_owned).to_vec(),
            Self::Cifar10(_) => CIFAR.map(str::to_owned).to_vec(),
            #[cfg(feature = "chem")]
            Self::SmallMolecules(config) => config.label.as_ref().map_or_else(Vec::new, |label| bins(label, count)),
            #[cfg(feature = "chem")]
            Self::Qm9(config) | Self::Zinc250k(config) => {
                property(config.label.as_ref()).map_or_else(Vec::new, |label| bins(label, count))
            }
            #[cfg(feature = "chem")]
            Self::Molecules(config) => {
                property(config.label.as_ref()).map_or_else(Vec::new, |label| bins(label, count))
            }
            _ => Vec::new(),
        };
        if known.len() == count { known } else { (0..count).map(|label| label.to_string()).collect() }
    }
}

/// The property that molecules are labelled by.
#[cfg(feature = "chem")]
fn property(label: Option<&MoleculeLabelling>) -> Option<&MoleculeLabel> {
    label?.property()
}

#[cfg(feature = "chem")]
fn bins(label: &MoleculeLabel, count: usize) -> Vec<String> {
    let (name, edges) = match label {
        MoleculeLabel::Weight { edges } => ("weight", edges),
        MoleculeLabel::Logp { edges } => ("logp", edges),
        MoleculeLabel::Tpsa { edges } => ("tpsa", edges),
        MoleculeLabel::Qed { edges } => ("qed", edges),
        MoleculeLabel::Rings { edges } => ("rings", edges),
        MoleculeLabel::Scaffold { .. } => {
            let rank =
                |label| if label + 1 == count { "other scaffolds".to_owned() } else { format!("scaffold {label}") };
            return (0..count).map(rank).collect();
        }
    };
    bin_names(name, edges)
}

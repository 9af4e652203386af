//! Specifications for every kind of data against values by hand, and soft against hard values at the corners of the
//! simplex.

use burn::tensor::{Device, Tensor};

use super::*;
use crate::data::Vocabulary;
use crate::data::graph::{ABSENT, GraphLayout, NodeClass};
use crate::data::sequences::{Alphabet, SequenceLayout};
use crate::data::synthetic::{glyphs, sums};
use crate::data::{DataConfig, Layout, Schema};
use crate::flow_map::steer::Reward;
use crate::metrics::kneser_ney::KneserNey;
use crate::tensor::{indices, one_hot, to_host};

fn glyph_data() -> DataConfig {
    toml::from_str("set = 'glyphs'").unwrap()
}

fn sum_data() -> DataConfig {
    DataConfig::Sums(sums::SumConfig::default())
}

fn images(height: usize, width: usize, classes: usize) -> Schema {
    Schema { sites: height * width, classes, layout: Layout::Image { height, width } }
}

fn text(symbols: &str, sites: usize) -> Schema {
    let vocabulary = Vocabulary::Characters(symbols.chars().collect());
    Schema { sites, classes: symbols.chars().count(), layout: Layout::Text { vocabulary } }
}

fn molecules() -> Schema {
    let node_classes = ["C", "O"].map(|e| NodeClass { element: e.into(), charge: 0 }).to_vec();
    let layout = GraphLayout { nodes: 2, node_classes, edge_classes: 4, sizes: vec![0, 1, 1] };
    Schema { sites: 3, classes: 4, layout: Layout::Graph(layout) }
}

fn context<'a>(schema: &'a Schema, data: &'a DataConfig) -> Context<'a> {
    Context { schema, data, classifier: None, scorer: None }
}

#[track_caller]
fn scores(spec: &str, schema: &Schema, data: &DataConfig, ids: &[u32]) -> Vec<f64> {
    Spec::new(spec, context(schema, data)).unwrap().score(ids).unwrap()
}

/// Soft values at the corners are the hard ones.
#[track_caller]
fn soft_agrees(spec: &str, schema: &Schema, data: &DataConfig, ids: &[u32]) {
    let spec = Spec::new(spec, context(schema, data)).unwrap().times(1.5);
    let n = ids.len() / schema.sites;
    let like = Tensor::<1>::zeros([1], &Device::flex());
    let corners = one_hot(indices(ids, [n, schema.sites], &Device::flex()), schema.classes, &like);
    let soft = to_host(&spec.soft(corners).expect("a soft reward"));
    for (soft, hard) in soft.iter().zip(spec.score(ids).unwrap()) {
        assert!((soft - hard).abs() < 1e-4, "{soft} {hard}");
    }
}

#[test]
fn images_by_hand() {
    let (schema, data) = (images(2, 3, 3), glyph_data());
    let ids = [0, 1, 2, 2, 1, 0, 2, 0, 2, 0, 0, 0];
    assert_eq!(scores("ink", &schema, &data, &ids), [0.5, 1.0 / 3.0]);
    assert_eq!(scores("symmetric", &schema, &data, &ids), [1.0 - 4.0 / 6.0, 1.0]);
    assert_eq!(scores("site(2, 1..2) - 2", &schema, &data, &ids), [-1.0, -1.0]);
    assert_eq!(scores("site(3, 0)", &schema, &data, &ids), [0.0, 1.0]);
    for spec in ["ink", "symmetric", "site(3, 0..1)", "2*ink - window(symmetric, 0.9..1) * ink + (1 - ink)"] {
        soft_agrees(spec, &schema, &data, &ids);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("target.png");
    ::image::GrayImage::from_raw(3, 2, vec![255, 0, 255, 0, 0, 0]).unwrap().save(&path).unwrap();
    let spec = format!("similar(\"{}\")", path.display());
    assert_eq!(scores(&spec, &schema, &data, &ids)[1], 1.0);
    soft_agrees(&spec, &schema, &data, &ids);
    let wrong = Spec::new(&spec, context(&images(3, 2, 3), &data)).err().unwrap().to_string();
    assert!(wrong.contains("[2, 3] pixels"), "{wrong}");
}

#[test]
fn glyphs_have_a_class_without_a_classifier_and_others_need_one() {
    let data = glyph_data();
    let splits = data.load(std::path::Path::new("unused"), 0).unwrap();
    let ids = crate::run::items(splits.test.as_ref(), 40);
    let schema = splits.schema();
    let total: f64 = (0..glyphs::CLASSES).flat_map(|k| scores(&format!("class({k})"), schema, &data, &ids)).sum();
    assert!(total > 36.0, "almost every drawn digit is the nearest to one template: {total}");
    let mnist: DataConfig = toml::from_str("set = 'mnist'").unwrap();
    let message = Spec::new("class(3)", context(schema, &mnist)).err().unwrap().to_string();
    assert!(message.contains("a classifier of these items is needed"), "{message}");
}

#[test]
fn sequences_by_hand() {
    let data = glyph_data();
    let schema = |alphabet: Alphabet, lengths: Vec<u64>| {
        let letters: Vec<char> = alphabet.letters().chars().collect();
        let (sites, classes) = (lengths.len() - 1, letters.len());
        Schema { sites, classes, layout: Layout::Sequence(SequenceLayout::new(alphabet, letters, lengths)) }
    };
    let of = |schema: &Schema, texts: &[&str]| -> Vec<u32> {
        let Layout::Sequence(layout) = &schema.layout else { unreachable!() };
        texts.iter().flat_map(|text| layout.encode(text).unwrap()).collect()
    };
    let fixed = schema(Alphabet::Dna, vec![0, 0, 0, 0, 0, 0, 4]);
    let ids = of(&fixed, &["TATATA", "GGCCAA"]);
    assert_eq!(scores("motifs(\"TATA\")", &fixed, &data, &ids), [2.0, 0.0]);
    assert_eq!(scores("has(\"SSSS\")", &fixed, &data, &ids), [0.0, 1.0]);
    assert_eq!(scores("gc + share(\"T\")", &fixed, &data, &ids), [0.5, 4.0 / 6.0]);
    assert_eq!(scores("identity(\"TATATC\")", &fixed, &data, &ids)[0], 5.0 / 6.0);
    for spec in ["motifs(\"TAWA\")", "has(\"GG\")", "2*gc - share(\"A\")"] {
        soft_agrees(spec, &fixed, &data, &ids);
    }
    let varied = schema(Alphabet::Protein, vec![0, 0, 1, 2]);
    let ids = of(&varied, &["KR", "DGI"]);
    assert_eq!(scores("length", &varied, &data, &ids), [2.0, 3.0]);
    assert_eq!(scores("charge", &varied, &data, &ids), [2.0, -1.0]);
    assert!((scores("hydropathy", &varied, &data, &ids)[1] - 0.2).abs() < 1e-12);
    // Lysine and arginine with water: 128.17 + 156.19 + 18.02.
    assert!((scores("mass", &varied, &data, &ids)[0] - 302.377).abs() < 1e-2);
    let of_varied = Spec::new("charge", context(&varied, &data)).unwrap();
    assert!(of_varied.soft(Tensor::zeros([1, 3, 20], &Device::flex())).is_none());
    let message = Spec::new("has(\"1\")", context(&fixed, &data)).err().unwrap().to_string();
    assert!(message.contains("none of the sequences"), "{message}");
    assert!(Spec::new("charge", context(&fixed, &data)).is_err());
}

#[test]
fn text_by_hand() {
    let (schema, data) = (text("abc ", 6), glyph_data());
    let Layout::Text { vocabulary } = &schema.layout else { unreachable!() };
    let ids = [vocabulary.encode("abc ab").unwrap(), vocabulary.encode("ccc   ").unwrap()].concat();
    assert_eq!(scores("contains(\"c a\")", &schema, &data, &ids), [1.0, 0.0]);
    assert_eq!(scores("matches(\"^c+ *$\")", &schema, &data, &ids), [0.0, 1.0]);
    assert_eq!(scores("charset(\"c \")", &schema, &data, &ids), [2.0 / 6.0, 1.0]);
    assert_eq!(scores("word_length", &schema, &data, &ids), [2.5, 3.0]);
    assert_eq!(scores("window(word_length, 3..4)", &schema, &data, &ids), [(-1f64).exp(), 1.0]);
    for spec in ["contains(\"c a\")", "contains(\"cc\")", "charset(\"c \")"] {
        soft_agrees(spec, &schema, &data, &ids);
    }
    assert!(
        Spec::new("word_length", context(&schema, &data))
            .unwrap()
            .soft(Tensor::zeros([1, 6, 4], &Device::flex()))
            .is_none()
    );
    let scorer = KneserNey::train("t", &ids.repeat(20), 4, 2).unwrap();
    let with = Context { scorer: Some(&scorer), ..context(&schema, &data) };
    let found = Spec::new("ngram", with).unwrap().score(&ids).unwrap();
    assert!((found[0] - scorer.log_prob(&ids[..6]) / 6.0).abs() < 1e-12);
    assert!(Spec::new("ngram", context(&schema, &data)).err().unwrap().to_string().contains("n-gram model"));
}

#[test]
fn sums_are_read() {
    let (schema, data) = (text("0123456789+=", 6), sum_data());
    let Layout::Text { vocabulary } = &schema.layout else { unreachable!() };
    let ids: Vec<u32> =
        ["3+9=12", "3+9=21", "1+1=02", "0+0=00"].iter().flat_map(|t| vocabulary.encode(t).unwrap()).collect();
    assert_eq!(scores("result(12)", &schema, &data, &ids), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(scores("result(2) + correct", &schema, &data, &ids), [1.0, 0.0, 2.0, 1.0]);
    assert_eq!(scores("result(0)", &schema, &data, &ids), [0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn molecules_by_hand_and_invalid_ones_are_worth_the_documented_penalty() {
    let (schema, data) = (molecules(), glyph_data());
    // CO (methanol), C=O, an oxygen with three bonds, one carbon.
    let ids = [0, 1, 1, 0, 1, 2, 1, 1, 3, 0, ABSENT, ABSENT];
    let weight = scores("weight", &schema, &data, &ids);
    assert!((weight[0] - 32.042).abs() < 1e-3 && (weight[3] - 16.043).abs() < 1e-3, "{weight:?}");
    assert_eq!(weight[2], INVALID);
    assert_eq!(scores("substructure(\"C=O\")", &schema, &data, &ids), [0.0, 1.0, INVALID, 0.0]);
    assert_eq!(scores("tanimoto(\"OC\")", &schema, &data, &ids)[0], 1.0);
    let twice = Spec::new("rings", context(&schema, &data)).unwrap().times(2.0).score(&ids).unwrap();
    assert_eq!(twice, [0.0, 0.0, 2.0 * INVALID, 0.0]);
    assert!(
        Spec::new("substructure(\"[\")", context(&schema, &data)).err().unwrap().to_string().contains("not a SMARTS")
    );
}

#[test]
fn errors_list_what_fits() {
    let (image, line, data) = (images(2, 2, 2), text("ab", 3), glyph_data());
    for (schema, kind, inside) in
        [(&image, "images", "symmetric"), (&line, "text", "contains"), (&molecules(), "molecules", "qed")]
    {
        let message = Spec::new("2*nonsense", context(schema, &data)).err().unwrap().to_string();
        assert!(message.contains("\"nonsense\"") && message.contains(kind) && message.contains(inside), "{message}");
    }
    for spec in
        ["window(ink, 3..1)", "window(ink)", "ink(3)", "class(1.5)", "site(9, 0)", "site(0, 7)", "contains(\"a\")"]
    {
        assert!(Spec::new(spec, context(&image, &data)).is_err(), "{spec}");
    }
    assert!(Spec::asks_for("1 + window(ngram, 0..1)", "ngram").unwrap());
    assert!(!Spec::asks_for("1 + ink", "ngram").unwrap());
}

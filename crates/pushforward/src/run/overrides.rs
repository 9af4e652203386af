//! Overrides of a recipe from the command line, such as `train.lr=1e-3`.
//!
//! A value is read as TOML, so `2024` is a number. Where the key wants a text, as `name` does, the same letters are
//! taken as one.

use toml::{Table, Value};

/// An override that cannot be applied.
pub(super) struct Refused {
    pub(super) text: String,
    pub(super) problem: String,
}

/// What reading a table gives, and for an error the override to blame, if it is one.
type Read<T> = Result<T, (toml::de::Error, Option<String>)>;

/// Applies overrides to a table and reads it.
///
/// # Errors
/// If an override has no value, or its path runs through a value.
pub(super) fn apply<T>(
    table: &Table,
    overrides: &[String],
    read: &dyn Fn(Table) -> Result<T, toml::de::Error>,
) -> Result<Read<T>, Refused> {
    let mut values: Vec<(&str, Value)> = Vec::with_capacity(overrides.len());
    let failed = |text: &String| {
        let text = text.clone();
        move |problem| Refused { text, problem }
    };
    for text in overrides {
        values.push(split(text).map_err(failed(text))?);
    }
    let with = |values: &[(&str, Value)]| {
        let mut table = table.clone();
        for (text, (path, value)) in overrides.iter().zip(values) {
            set(&mut table, path, value.clone()).map_err(failed(text))?;
        }
        Ok(read(table))
    };
    let mut found = with(&values)?;
    // Where a text is wanted, numbers become texts, one after the other, as long as that helps.
    for i in 0..values.len() {
        let Err(error) = &found else { break };
        if !wants_text(error) || matches!(values[i].1, Value::String(_) | Value::Table(_) | Value::Array(_)) {
            continue;
        }
        let word = overrides[i].split_once('=').map_or("", |(_, word)| word).trim().to_owned();
        let number = std::mem::replace(&mut values[i].1, Value::String(word.clone()));
        match with(&values)? {
            Err(later) if later.message() == error.message() || later.message().contains(&format!("{word:?}")) => {
                values[i].1 = number;
            }
            better => found = better,
        }
    }
    Ok(match found {
        Ok(recipe) => Ok(recipe),
        Err(error) => {
            let blamed = blamed(table, overrides, &values, &error, read);
            Err((error, blamed))
        }
    })
}

/// Applies overrides to a table.
///
/// # Errors
/// As [`apply`].
pub(super) fn put(mut table: Table, overrides: &[String]) -> Result<Table, Refused> {
    for text in overrides {
        let failed = |problem| Refused { text: text.clone(), problem };
        let (path, value) = split(text).map_err(failed)?;
        set(&mut table, path, value).map_err(failed)?;
    }
    Ok(table)
}

fn wants_text(error: &toml::de::Error) -> bool {
    let message = error.message();
    message.contains("invalid type") && message.contains("string")
}

/// The override of whose value an error speaks: without it, the error is another one or none.
fn blamed<T>(
    table: &Table,
    overrides: &[String],
    values: &[(&str, Value)],
    error: &toml::de::Error,
    read: &dyn Fn(Table) -> Result<T, toml::de::Error>,
) -> Option<String> {
    if !error.message().contains("invalid type") && !error.message().contains("invalid value") {
        return None;
    }
    let without = |left_out: usize| {
        let mut table = table.clone();
        let others = values.iter().enumerate().filter(|(i, _)| *i != left_out);
        for (_, (path, value)) in others {
            set(&mut table, path, value.clone()).ok()?;
        }
        Some(read(table).err().is_none_or(|other| other.message() != error.message()))
    };
    (0..values.len()).find(|&i| without(i) == Some(true)).map(|i| overrides[i].clone())
}

/// Keys whose value decides which other keys their table has; changing one empties the table.
const TAGS: [&str; 5] = ["kind", "distribution", "law", "set", "family"];

/// Path and value of an override. A bare word is a string; everything else is TOML.
fn split(text: &str) -> Result<(&str, Value), String> {
    let (path, value) = text.split_once('=').ok_or("there is no '='")?;
    let word = value.trim();
    let parsed = toml::from_str::<Table>(&format!("value = {word}")).ok().filter(|parsed| parsed.len() == 1);
    let value = parsed.and_then(|mut parsed| parsed.remove("value"));
    Ok((path, value.unwrap_or_else(|| Value::String(word.to_owned()))))
}

/// Applies one override.
fn set(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    let keys: Vec<&str> = path.trim().split('.').collect();
    let (last, parents) = keys.split_last().expect("splitting gives at least one part");
    if keys.iter().any(|k| k.is_empty()) {
        return Err("a key is empty".into());
    }
    let mut here = table;
    for key in parents {
        let next = here.entry(*key).or_insert_with(|| Value::Table(Table::new()));
        here = next.as_table_mut().ok_or_else(|| format!("`{key}` is a value and has no keys"))?;
    }
    if TAGS.contains(last) && here.get(*last) != Some(&value) {
        here.clear();
    }
    // The two ways to give the length of a run replace each other.
    match path.trim() {
        "train.steps" => drop(here.remove("minutes")),
        "train.minutes" => drop(here.remove("steps")),
        _ => {}
    }
    here.insert((*last).to_owned(), value);
    Ok(())
}

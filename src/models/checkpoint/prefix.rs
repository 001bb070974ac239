//! Restores official names from those that training programs write.
//!
//! In: tensors under the names of a file, such as `state_dict.model.image_encoder.pos_embed` or
//! `module._orig_mod.mask_decoder...`. Out: only the model's tensors, without prefixes in their names. Nested
//! dictionaries have been turned into dots before.

use std::collections::BTreeMap;
use std::path::Path;

use crate::models::error::{ModelError, Result};
use crate::models::family::Family;

/// Names that PyTorch's wrappers insert before a module's own, anywhere in a model: DataParallel, `torch.compile`,
/// FSDP, activation checkpoints.
const WRAPPERS: [&str; 4] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// The tensors of the single model of a wanted family in a file, without prefixes, and its family. All other tensors are
/// left out.
///
/// # Errors
/// [`ModelError::OtherModel`], [`ModelError::UnknownModel`], [`ModelError::AmbiguousCheckpoint`].
pub(super) fn model_tensors<T>(
    path: &Path,
    tensors: BTreeMap<String, T>,
    wanted: &[Family],
) -> Result<(Family, BTreeMap<String, T>)> {
    let plain: Vec<(&str, String)> = tensors
        .keys()
        .map(|name| (name.as_str(), without_wrappers(name)))
        .collect();
    let Some((family, end, names)) = find(&plain, wanted) else {
        return Err(no_model(path, &plain, wanted));
    };
    let [name] = names[..] else {
        return Err(ambiguous(path, names));
    };
    // Wrappers may also follow the first part of the name. What precedes that part is the prefix of all names.
    let first = end.split_inclusive('.').next().unwrap_or(end);
    let prefix = name.rfind(first).and_then(|at| name.get(..at));
    let prefix = prefix.unwrap_or_default().to_owned();
    let mut found: BTreeMap<String, (String, T)> = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some(official) = name.strip_prefix(&prefix).map(without_wrappers) else {
            continue;
        };
        if let Some(extended) = family
            .extended_by(&official)
            .filter(|it| !wanted.contains(it))
        {
            return Err(other_model(path, extended, &name, wanted));
        }
        if let Some((other, _)) = found.get(&official) {
            return Err(ambiguous(path, [other.as_str(), name.as_str()]));
        }
        found.insert(official, (name, tensor));
    }
    let tensors = found.into_iter();
    let tensors = tensors.map(|(name, (_, tensor))| (name, tensor)).collect();
    Ok((family, tensors))
}

/// The first wanted family that is told by a name, that name, and the names in the file that end in it.
fn find<'a>(
    plain: &[(&'a str, String)],
    wanted: &[Family],
) -> Option<(Family, &'static str, Vec<&'a str>)> {
    let telling = wanted
        .iter()
        .flat_map(|family| family.telling().map(|end| (*family, end)));
    telling
        .map(|(family, end)| (family, end, names_ending(plain, end)))
        .find(|(_, _, names)| !names.is_empty())
}

fn names_ending<'a>(plain: &[(&'a str, String)], end: &str) -> Vec<&'a str> {
    let ending = plain.iter().filter(|(_, plain)| ends_in(plain, end));
    ending.map(|(name, _)| *name).collect()
}

fn no_model(path: &Path, names: &[(&str, String)], wanted: &[Family]) -> ModelError {
    for (family, end) in Family::all_telling() {
        if let Some(name) = names_ending(names, end).first() {
            return other_model(path, family, name, wanted);
        }
    }
    ModelError::UnknownModel {
        path: path.to_owned(),
        expected: listed(wanted),
        tensors: names.len(),
        keys: first_parts(names),
    }
}

fn other_model(path: &Path, family: Family, tensor: &str, wanted: &[Family]) -> ModelError {
    ModelError::OtherModel {
        path: path.to_owned(),
        family: family.name(),
        tensor: tensor.to_owned(),
        expected: listed(wanted),
    }
}

/// The families that could be used, as a person would list them.
fn listed(families: &[Family]) -> String {
    let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

fn ambiguous<'a>(path: &Path, keys: impl IntoIterator<Item = &'a str>) -> ModelError {
    ModelError::AmbiguousCheckpoint {
        path: path.to_owned(),
        keys: keys.into_iter().map(|key| format!("'{key}'")).collect(),
    }
}

/// Whether a name equals `end`, or ends in it after a dot.
fn ends_in(name: &str, end: &str) -> bool {
    let prefix = name.strip_suffix(end);
    prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

fn without_wrappers(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// The first parts of names, each with the number of names that start with it.
fn first_parts(names: &[(&str, String)]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in names {
        let part = name.split('.').next().unwrap_or_default();
        *counts.entry(part).or_default() += 1;
    }
    counts
        .iter()
        .map(|(part, count)| match count {
            1 => format!("'{part}' (1 tensor)"),
            count => format!("'{part}' ({count} tensors)"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Result<Vec<String>> {
        let tensors = names.iter().map(|name| ((*name).to_owned(), ()));
        let (_, found) = model_tensors(Path::new("a.pth"), tensors.collect(), &[Family::Sam])?;
        Ok(found.into_keys().collect())
    }

    const TOKEN: &str = "mask_decoder.iou_token.weight";
    const POSITION: &str = "image_encoder.pos_embed";

    #[test]
    fn prefixes_come_off_however_they_are_stacked() {
        for prefix in [
            "",
            "model.",
            "state_dict.",
            "model_state.",
            "module.",
            "_orig_mod.",
            "sam.",
            "module._orig_mod.",
            "state_dict.model.module.",
            "a.b.c.",
        ] {
            let names = [TOKEN, POSITION].map(|name| format!("{prefix}{name}"));
            let beside = match prefix {
                "" => vec![],
                _ => vec!["optimizer.state.0.exp_avg", "model_ema.step"],
            };
            let names: Vec<&str> = names.iter().map(String::as_str).chain(beside).collect();
            assert_eq!(found(&names).unwrap(), [POSITION, TOKEN], "{prefix}");
        }
        let compiled = [
            "image_encoder._orig_mod.pos_embed",
            "mask_decoder.module.iou_token.weight",
        ];
        assert_eq!(found(&compiled).unwrap(), [POSITION, TOKEN]);
    }

    #[test]
    fn two_models_and_none_are_errors_that_name_keys() {
        let message = |names: &[&str]| found(names).unwrap_err().to_string();
        let (one, other) = (format!("model.{TOKEN}"), format!("ema.module.{TOKEN}"));
        let two = message(&[&one, &other]);
        assert!(
            two.contains(&format!("'{one}'")) && two.contains(&format!("'{other}'")),
            "{two}"
        );
        let twice = message(&[TOKEN, POSITION, "image_encoder.module.pos_embed"]);
        assert!(
            twice.contains("'image_encoder.module.pos_embed', 'image_encoder.pos_embed'"),
            "{twice}"
        );
        let none = message(&["image_encoder.a", "image_encoder.b", "optimizer.0"]);
        assert!(
            none.contains("there are 'image_encoder' (2 tensors), 'optimizer' (1 tensor)"),
            "{none}"
        );
        assert!(message(&[]).contains("there are none"));
        for (family, name, beside) in [
            ("SAM 2", "model.sam_mask_decoder.iou_token.weight", POSITION),
            ("HQ-SAM", "module.mask_decoder.hf_token.weight", TOKEN),
            ("DINOv2", "blocks.0.ls1.gamma", "pos_embed"),
        ] {
            let other = message(&[name, beside]);
            assert!(
                other.contains(&format!("holds {family} ('{name}')")),
                "{other}"
            );
        }
        let within = ["tower.vision_model.embeddings.class_embedding", TOKEN];
        assert!(
            found(&within).is_ok(),
            "a model that has a Segment Anything among others"
        );
        assert!(found(&["xmask_decoder.iou_token.weight"]).is_err());
    }
}

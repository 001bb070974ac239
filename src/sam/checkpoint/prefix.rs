//! Restores official names from those that training programs write.
//!
//! In: tensors under the names of a file, such as `state_dict.model.image_encoder.pos_embed` or
//! `module._orig_mod.mask_decoder...`. Out: only the model's tensors, without prefixes in their names. Nested
//! dictionaries have been turned into dots before.

use std::collections::BTreeMap;
use std::path::Path;

use crate::sam::detect;
use crate::sam::error::{Result, SamError};

/// Names that PyTorch's wrappers insert before a module's own, anywhere in a model: DataParallel, `torch.compile`,
/// FSDP, activation checkpoints.
const WRAPPERS: [&str; 4] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// Extra tokens of HQ-SAM, which is otherwise Segment Anything, under its own names and under Hugging Face's.
const HQ_TOKENS: [&str; 2] = [
    "mask_decoder.hf_token.weight",
    "mask_decoder.hq_token.weight",
];

/// Other models, each with a name ending that only it has.
const FAMILIES: [(&str, &str); 6] = [
    ("SAM 2", "sam_mask_decoder.iou_token.weight"),
    ("SAM 2", "image_encoder.trunk.patch_embed.proj.weight"),
    (
        "SAM 2",
        "vision_encoder.backbone.patch_embed.projection.weight",
    ),
    ("CLIP", "vision_model.embeddings.class_embedding"),
    ("CLIP", "visual.positional_embedding"),
    ("DINOv2", "blocks.0.ls1.gamma"),
];

/// The part of a model that contains [`detect::ALWAYS_PRESENT`].
const PART: &str = "mask_decoder";

/// The tensors of the single model in a file, without prefixes. All other tensors are left out.
///
/// # Errors
/// [`SamError::OtherModel`], [`SamError::NotSamCheckpoint`], [`SamError::AmbiguousCheckpoint`].
pub(super) fn model_tensors<T>(
    path: &Path,
    tensors: BTreeMap<String, T>,
) -> Result<BTreeMap<String, T>> {
    let plain: Vec<(&str, String)> = tensors
        .keys()
        .map(|name| (name.as_str(), without_wrappers(name)))
        .collect();
    let mut models = plain
        .iter()
        .filter(|(_, plain)| prefix_before(plain, detect::ALWAYS_PRESENT).is_some())
        .map(|(name, _)| *name);
    let prefix = match (models.next(), models.next()) {
        (None, _) => return Err(no_model(path, &plain)),
        // Wrappers may also follow the part's name. What precedes that name is the prefix of all parts.
        (Some(name), None) => name.rfind(PART).and_then(|at| name.get(..at)),
        (Some(first), Some(second)) => {
            return Err(ambiguous(path, [first, second].into_iter().chain(models)));
        }
    };
    let prefix = prefix.unwrap_or_default().to_owned();
    let mut found: BTreeMap<String, (String, T)> = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some(official) = name.strip_prefix(&prefix).map(without_wrappers) else {
            continue;
        };
        if HQ_TOKENS.contains(&official.as_str()) {
            return Err(other_model(path, "HQ-SAM", &name));
        }
        if let Some((other, _)) = found.get(&official) {
            return Err(ambiguous(path, [other.as_str(), name.as_str()]));
        }
        found.insert(official, (name, tensor));
    }
    let tensors = found.into_iter();
    Ok(tensors.map(|(name, (_, tensor))| (name, tensor)).collect())
}

fn no_model(path: &Path, names: &[(&str, String)]) -> SamError {
    for (name, plain) in names {
        let is_of = |(_, end): &&(&str, &str)| prefix_before(plain, end).is_some();
        if let Some((family, _)) = FAMILIES.iter().find(is_of) {
            return other_model(path, family, name);
        }
    }
    SamError::NotSamCheckpoint {
        path: path.to_owned(),
        tensors: names.len(),
        keys: first_parts(names),
    }
}

fn other_model(path: &Path, family: &'static str, tensor: &str) -> SamError {
    SamError::OtherModel {
        path: path.to_owned(),
        family,
        tensor: tensor.to_owned(),
    }
}

fn ambiguous<'a>(path: &Path, keys: impl IntoIterator<Item = &'a str>) -> SamError {
    SamError::AmbiguousCheckpoint {
        path: path.to_owned(),
        keys: keys.into_iter().map(|key| format!("'{key}'")).collect(),
    }
}

/// The text before `end` in a name that equals `end` or ends in it after a dot.
fn prefix_before<'a>(name: &'a str, end: &str) -> Option<&'a str> {
    let prefix = name.strip_suffix(end)?;
    (prefix.is_empty() || prefix.ends_with('.')).then_some(prefix)
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
        let found = model_tensors(Path::new("a.pth"), tensors.collect())?;
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

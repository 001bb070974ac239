//! Advice on errors in terms of the command line. The library's errors state facts and do not mention options.

use grainstore::Error;
use grainstore::error::{
    CatalogueError, EvalError, HeadError, ModelError, Named, ReviewError, VectorError,
};

/// Advice on an error, if there is any.
pub fn hint(err: &Error) -> Option<String> {
    let fixed = |text: &str| Some(text.to_owned());
    match err {
        Error::Catalogue(err) => catalogue(err),
        Error::Head(err) => head(err),
        Error::Eval(EvalError::NoImages) => {
            fixed("other values of --split and --where leave out fewer images")
        }
        Error::StoreNotFound { .. } => {
            fixed("create one with 'grainstore init', or by ingesting into it")
        }
        Error::Review(ReviewError::NoSuchMask { .. }) => fixed(
            "'grainstore show --masks' draws masks with their indices; --extractor chooses whose masks are meant",
        ),
        Error::Review(ReviewError::NothingToPropagate { .. }) => {
            fixed("'grainstore label' says what masks show, 'grainstore embed' gives them vectors")
        }
        Error::Review(ReviewError::NoSuchLabel { .. }) => {
            fixed("'grainstore labels list' shows the ids of those that count")
        }
        Error::NotAStore { .. } => fixed("name another path with --store"),
        Error::NoSuchVersion { .. } => fixed("'grainstore store log' lists the versions"),
        Error::NoSuchTag { .. } => fixed("'grainstore store tags' lists the tags"),
        Error::PhotoGone { .. } => {
            fixed("if the photos have moved, 'grainstore store relocate DIR' finds them below DIR")
        }
        Error::StoreDamaged { .. } => {
            fixed("'grainstore check --deep' reads every file of the store")
        }
        Error::Lance(err) if err.to_string().contains("corrupt file") => {
            fixed("'grainstore check --deep' says which file of the store it is")
        }
        Error::Ids { .. } => {
            fixed("--dataset and --split choose fewer images; --ids new gives all images new ids")
        }
        Error::SplitName { .. } => fixed(
            "--split and --where choose images of other splits; 'grainstore query review/annotated_splits' lists them",
        ),
        Error::NothingToExport { .. } => {
            fixed("other values of --dataset, --split and --where choose more images")
        }
        Error::MissingOption { option, .. } => Some(format!("give it with --{option}")),
        Error::MissingParameter { parameter, .. } => Some(format!(
            "give it with --param {parameter}=VALUE; 'grainstore query --list' lists the parameters of every query"
        )),
        Error::DataFusion(err) if err.message().contains("vectors.") => {
            fixed("'grainstore embedders list' lists the embedders, whose tables are vectors.NAME")
        }
        Error::DataFusion(err) if err.message().contains("' not found") => {
            fixed("'grainstore schema' lists the tables and their columns")
        }
        Error::Vectors(VectorError::EmbedderExists { .. }) => {
            fixed("give this one another name with --name; 'grainstore embedders list' lists them")
        }
        Error::Vectors(VectorError::NoSuchIndex { .. }) => {
            fixed("'grainstore store index create TABLE' makes one")
        }
        Error::Vectors(VectorError::EmbedderInUse { .. }) => fixed(
            "'grainstore heads rm HEAD' removes a head and its teacher; --force removes its predictions, too",
        ),
        Error::Model(ModelError::ActivationUnknown { .. }) => fixed(
            "OpenAI's weights were trained with --activation quick-gelu, LAION's with --activation gelu",
        ),
        Error::DeviceMemory { .. } => {
            fixed("try --precision bf16, a smaller model, or --device cpu")
        }
        Error::EmbeddingSize { found, .. } => Some(format!(
            "'grainstore init --embedding-dim {found}' creates a store for this model; name its path with --store"
        )),
        Error::Device { reason, .. } if reason.contains("feature") => {
            fixed("'cargo install --path . --locked --features NAME' builds the program with it")
        }
        _ => None,
    }
}

fn catalogue(err: &CatalogueError) -> Option<String> {
    let text = match err {
        CatalogueError::NoPredictions { head } => {
            return Some(format!("run 'grainstore annotate --head {head}' first"));
        }
        CatalogueError::OnlyImported => {
            "'grainstore embed' gives them vectors, and --vectors NAME trains on these"
        }
        CatalogueError::Empty { kind } => match kind {
            Named::Extractor => "run 'grainstore extract' first",
            Named::Embedder => "run 'grainstore embed' first",
            Named::AnnotatedDataset => {
                "'grainstore ingest coco' and 'grainstore ingest voc' add annotations"
            }
            _ => return None,
        },
        CatalogueError::Choose { kind, .. } => match kind {
            Named::Extractor => "name it by the first digits of its id with --extractor",
            Named::AnnotatedDataset => "name it with --dataset",
            Named::Embedder => "name it with --vectors",
            _ => return None,
        },
        CatalogueError::NoSuch { kind, nearest, .. } => match kind {
            Named::Head if nearest.is_empty() => "'grainstore train' trains one",
            Named::Head => "'grainstore heads list' lists them",
            Named::ClassSet if nearest.is_empty() => "'grainstore classes add' adds one",
            Named::ClassSet => "'grainstore classes list' lists them",
            Named::Extractor if nearest.is_empty() => "run 'grainstore extract' first",
            Named::Extractor => "'grainstore query review/extractors' lists them",
            Named::Embedder if nearest.is_empty() => "run 'grainstore embed' first",
            Named::Embedder => "'grainstore embedders list' lists them",
            Named::Dataset | Named::AnnotatedDataset => {
                "'grainstore query review/datasets' lists them"
            }
            Named::Query => "'grainstore query --list' lists them",
            Named::Policy => "'grainstore query annotate/policies' lists them",
            Named::Image => {
                "'grainstore sql \"SELECT image_id, file_name FROM images\"' lists them"
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(text.to_owned())
}

fn head(err: &HeadError) -> Option<String> {
    let text = match err {
        HeadError::NothingToTrainOn => {
            "'grainstore query review/labels' lists the labels, 'grainstore query review/extractors' the masks"
        }
        HeadError::NoLabelledMasks => {
            "'grainstore label' says what masks show; 'grainstore labels list' has what was said"
        }
        HeadError::OneKindOfMask => {
            "'grainstore label mask IMAGE INDEX --none' says that a mask shows nothing of any class"
        }
        HeadError::NoLabelledImages => {
            "--loss masks, linear or prototypes train on labelled masks alone"
        }
        HeadError::NothingToRefine => {
            "--loss mil+distill trains without refining; a query of your own must yield image_id and mask_index as in 'masks'"
        }
        HeadError::NoVectors { .. } => "'grainstore embed' makes vectors of masks",
        HeadError::NoTokens { .. } => {
            "'grainstore embed' gives them vectors, and --vectors NAME trains on these"
        }
        HeadError::NoNewImages => "without --since, the head is trained on all images",
        HeadError::ClassesWithoutImages { .. } => {
            "leave the classes out, ingest and extract images with their labels, or choose others with --where"
        }
        HeadError::Diverged { .. } => "try a smaller --learning-rate",
        HeadError::NameTaken { .. } => "give another name",
        HeadError::InUse { .. } => "--force removes them too, and its evaluations",
        _ => return None,
    };
    Some(text.to_owned())
}

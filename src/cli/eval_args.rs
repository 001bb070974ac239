//! Arguments that several commands share: a head and the ground truth it is evaluated on.

use grainstore::eval::EvalRequest;
use grainstore::selection::ImageFilter;

/// A head, and the ground truth it is evaluated on.
#[derive(Debug, clap::Args)]
pub struct EvaluationArgs {
    /// Name or id of the head.
    #[arg(long, value_name = "HEAD")]
    head: String,
    #[command(flatten)]
    evaluated: Evaluated,
}

/// How a head is evaluated.
#[derive(Debug, clap::Args)]
pub struct Evaluated {
    #[command(flatten)]
    pub against: Against,
    /// Evaluate in the classes of this set. They must have the same labels and be as coarse or coarser.
    #[arg(long, value_name = "NAME")]
    pub classes: Option<String>,
    /// First digits of the id of the annotation policy [default: the one used last].
    #[arg(long, value_name = "ID")]
    policy: Option<String>,
}

/// The ground truth that heads are evaluated on.
#[derive(Debug, clap::Args)]
pub struct Against {
    /// Data set whose annotations count; needed if several have annotations.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Use only images of this split.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Choose images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
}

impl EvaluationArgs {
    /// The request, without slices.
    pub fn request(self) -> EvalRequest {
        self.evaluated.request(self.head)
    }
}

impl Evaluated {
    /// The request for a head, without slices.
    pub fn request(self, head: String) -> EvalRequest {
        EvalRequest {
            classes: self.classes,
            policy: self.policy,
            ..self.against.request(head)
        }
    }
}

impl Against {
    /// The request for a head, in its own classes and under the policy used last.
    pub fn request(self, head: String) -> EvalRequest {
        EvalRequest {
            head,
            images: self.images(),
            ..EvalRequest::default()
        }
    }

    /// The images that are evaluated.
    pub fn images(self) -> ImageFilter {
        ImageFilter {
            dataset: self.dataset,
            split: self.split,
            condition: self.condition,
            ids: None,
        }
    }
}

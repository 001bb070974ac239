//! Which head is held against what: arguments of more than one command.

use grainstore::eval::EvalRequest;
use grainstore::selection::ImageFilter;

/// A head, and the annotated objects it is held against.
#[derive(Debug, clap::Args)]
pub struct Judged {
    /// Name of the head, or its id.
    #[arg(long, value_name = "HEAD")]
    head: String,
    #[command(flatten)]
    against: Against,
    /// Judge in the classes of this set, over the same labels but as coarse or coarser.
    #[arg(long, value_name = "NAME")]
    classes: Option<String>,
    /// First digits of the id of the annotation policy [default: the one annotated with last].
    #[arg(long, value_name = "ID")]
    policy: Option<String>,
}

/// The annotated objects that heads are held against.
#[derive(Debug, clap::Args)]
pub struct Against {
    /// Data set whose annotations count; needed where several have any.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Images of this split only.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Which images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
}

impl Judged {
    /// The request, over all images together.
    pub fn request(self) -> EvalRequest {
        EvalRequest {
            classes: self.classes,
            policy: self.policy,
            ..self.against.request(self.head)
        }
    }
}

impl Against {
    /// The request for a head, in its own classes and under its newest policy.
    pub fn request(self, head: String) -> EvalRequest {
        EvalRequest {
            head,
            images: ImageFilter {
                dataset: self.dataset,
                split: self.split,
                condition: self.condition,
                ids: None,
            },
            ..EvalRequest::default()
        }
    }
}

//! The position in a walk over a model's parameters.

/// The position in a walk over a model's parameters.
#[derive(Default)]
pub(in crate::models) struct Place {
    path: Vec<String>,
    container: Vec<String>,
}

impl Place {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.container.push(container.to_owned());
        if !container.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    pub(super) fn exit(&mut self, container: &str) {
        self.container.pop();
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }

    /// The names of the fields that lead to the parameter, with dots between them. The fields of a layer normalisation
    /// of burn are called `weight` and `bias`, as in torch.
    pub(in crate::models) fn path(&self) -> String {
        let mut path = self.path.join(".");
        if self.is_in("LayerNorm") {
            for (ours, torchs) in [(".gamma", ".weight"), (".beta", ".bias")] {
                if let Some(start) = path.strip_suffix(ours) {
                    path = format!("{start}{torchs}");
                }
            }
        }
        path
    }

    /// Whether the parameter is stored transposed: torch stores a linear layer's weight as `[out, in]`.
    pub(super) fn is_transposed(&self) -> bool {
        self.path.last().is_some_and(|name| name == "weight") && self.is_in("Linear")
    }

    fn is_in(&self, layer: &str) -> bool {
        let container = self.container.last();
        container.is_some_and(|it| it.strip_prefix("Struct:") == Some(layer))
    }
}

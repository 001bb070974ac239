//! What a query can name, for completion.

use super::Sql;

/// Names that queries can use.
#[derive(Debug, Clone, Default)]
pub struct SqlNames {
    /// Tables, each with its columns.
    pub tables: Vec<(String, Vec<String>)>,
    /// Functions, in order.
    pub functions: Vec<String>,
}

impl Sql {
    /// The tables and functions of this session.
    pub fn names(&self) -> SqlNames {
        let tables = self.tables.iter().map(|(name, table)| {
            let schema = table.schema();
            let columns = schema.fields().iter().map(|field| field.name().clone());
            (name.to_string(), columns.collect())
        });
        let state = self.context.state();
        let mut functions: Vec<String> = state.scalar_functions().keys().cloned().collect();
        functions.extend(state.aggregate_functions().keys().cloned());
        functions.extend(state.window_functions().keys().cloned());
        functions.extend(state.table_functions().keys().cloned());
        functions.sort_unstable();
        functions.dedup();
        SqlNames {
            tables: tables.collect(),
            functions,
        }
    }
}

//! The SELECT that a head is trained on.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use arrow::util::display::array_value_to_string;
use datafusion::functions_aggregate::expr_fn::count_distinct;
use datafusion::logical_expr::Expr as Condition;
use datafusion::prelude::col;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, ObjectNamePart, Query as Select, SelectItem, SetExpr,
    Statement, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use serde::Deserialize;

use super::inputs::{HeadInput, HeadInputs};
use super::predict::register_predict;
use super::query_columns::id_column;
use super::stored_embeddings::stored_column;
use crate::catalogue::with_prompted;
use crate::ids::{ExtractorId, ImageId};
use crate::query::Query;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::sql::{Rows, Sql};
use crate::store::Snapshot;
use crate::store::rows::decode;
use crate::{Error, Result};

/// Default condition for the images that heads are trained on: SQL over `images`.
pub const DEFAULT_CONDITION: &str = "source IN ('web', 'synthetic')";

/// A SELECT that yields masks with their labels, as text that can be run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingQuery {
    text: String,
    /// The same SELECT with the ids of the rows in place of the numbers of the inputs, if all of them are stored.
    by_id: Option<String>,
    /// The extractor that the head is to be of, and those whose masks are beside its own; empty if they are not known.
    extractors: Vec<ExtractorId>,
}

impl TrainingQuery {
    /// Creates a query from the user's own SQL; [`super::Bags::read`] says which columns it must yield.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.trim().trim_end_matches(';').to_owned(),
            by_id: None,
            extractors: Vec::new(),
        }
    }

    /// Selects the masks that an extractor found, and those that people added beside them, in the images that match a filter, or [`DEFAULT_CONDITION`] if there is
    /// none: those of labelled images, those that are labelled themselves, and those of images that another filter says
    /// to show none of the classes; with a column for each input. Without a filter, labelled masks of any image are
    /// selected.
    ///
    /// # Errors
    /// [`Error::DataFusion`] for a condition that is no expression over its table.
    pub async fn of_images(
        snapshot: &Snapshot,
        extractor_id: &ExtractorId,
        chosen: &ChosenImages,
        inputs: &HeadInputs,
    ) -> Result<Self> {
        let conditions = chosen.conditions(snapshot).await?;
        Self::of(snapshot, "train/bags", extractor_id, &conditions, inputs).await
    }

    /// Selects only the masks that are labelled themselves.
    ///
    /// # Errors
    /// As [`TrainingQuery::of_images`].
    pub async fn of_labelled_masks(
        snapshot: &Snapshot,
        extractor_id: &ExtractorId,
        chosen: &ChosenImages,
        inputs: &HeadInputs,
    ) -> Result<Self> {
        let mut conditions = chosen.conditions(snapshot).await?;
        conditions.negatives = None;
        let template = "train/labelled_masks";
        Self::of(snapshot, template, extractor_id, &conditions, inputs).await
    }

    async fn of(
        snapshot: &Snapshot,
        template: &str,
        extractor_id: &ExtractorId,
        conditions: &Conditions,
        inputs: &HeadInputs,
    ) -> Result<Self> {
        let extractors = with_prompted(snapshot, extractor_id).await?;
        let template = Query::named(template)?;
        let with =
            |numbers: Numbers| filled(template.sql(), &extractors, conditions, inputs, numbers);
        let are_stored = inputs.iter().all(|input| stored_column(input).is_some());
        let by_id = are_stored.then(|| with(Numbers::ById)).transpose()?;
        let text = with(Numbers::Read)?;
        Ok(Self {
            by_id,
            extractors,
            ..Self::new(&text)
        })
    }

    /// The extractor that the head is to be of, and those whose masks are beside its own; empty if they are not known.
    pub(super) fn extractors(&self) -> &[ExtractorId] {
        &self.extractors
    }

    /// The text of the SELECT.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether [`Self::rows_by_id`] can be asked for.
    pub(super) fn has_ids(&self) -> bool {
        self.by_id.is_some()
    }

    /// Runs the query with a column of row ids, [`id_column`], in place of each input's numbers, which are not read.
    ///
    /// # Errors
    /// As [`TrainingQuery::rows`].
    pub(super) async fn rows_by_id(
        &self,
        snapshot: &Snapshot,
        inputs: &HeadInputs,
    ) -> Result<Rows> {
        let by_id = self.by_id.as_ref().ok_or(Error::Internal {
            what: "the inputs of a training query are not stored",
        })?;
        let sql = self.session(snapshot).await?;
        for input in inputs.iter() {
            let Some((table, _)) = stored_column(input) else {
                continue;
            };
            let name = match input {
                HeadInput::Vectors { embedder, .. } => Some(embedder.as_str()),
                _ => None,
            };
            sql.add_row_ids(snapshot, table, name).await?;
        }
        sql.query(by_id).await
    }

    /// Runs the query and returns its rows.
    ///
    /// # Errors
    /// As [`Sql::query`] and [`register_predict`].
    pub async fn rows(&self, snapshot: &Snapshot) -> Result<Rows> {
        self.session(snapshot).await?.query(&self.text).await
    }

    /// A session with the heads that the query calls.
    async fn session(&self, snapshot: &Snapshot) -> Result<Sql> {
        let sql = Sql::new(snapshot).await?;
        register_predict(&sql, snapshot, &self.text).await?;
        Ok(sql)
    }

    /// The images that the query yields and the number of their masks, without reading the embeddings.
    ///
    /// # Errors
    /// As [`TrainingQuery::rows`].
    pub async fn images(&self, snapshot: &Snapshot) -> Result<(HashSet<ImageId>, u64)> {
        #[derive(Deserialize)]
        struct Found {
            image_id: ImageId,
            masks: i64,
        }
        let sql = self.session(snapshot).await?;
        let masks = count_distinct(col("mask_index")).alias("masks");
        let frame = sql.frame(&self.text).await?;
        let mut rows = Rows::of(frame.aggregate(vec![col("image_id")], vec![masks])?).await?;
        let (mut images, mut masks) = (HashSet::new(), 0);
        while let Some(batch) = rows.next().await? {
            for found in decode::<Found>(Table::Masks, &batch)? {
                images.insert(found.image_id);
                masks += u64::try_from(found.masks).unwrap_or(0);
            }
        }
        Ok((images, masks))
    }
}

/// What is said of masks, as text, by image and mask.
pub(super) type SaidOfMasks = HashMap<(String, String), String>;

impl TrainingQuery {
    /// What the query yields of labels of masks, without reading the embeddings; nothing for a query without such columns.
    ///
    /// # Errors
    /// As [`TrainingQuery::rows`].
    pub(super) async fn said(&self, snapshot: &Snapshot) -> Result<SaidOfMasks> {
        const KEY: [&str; 2] = ["image_id", "mask_index"];
        let sql = self.session(snapshot).await?;
        let frame = sql.frame(&self.text).await?;
        let schema = frame.schema().clone();
        let said = ["mask_is", "mask_is_not", "mask_is_none", "mask_is_bad"];
        let said: Vec<&str> = said
            .into_iter()
            .filter(|name| schema.has_column_with_unqualified_name(name))
            .collect();
        let is_said = said.iter().map(|name| col(*name).is_not_null());
        let Some(is_said) = is_said.reduce(Condition::or) else {
            return Ok(HashMap::new());
        };
        let columns: Vec<&str> = KEY.into_iter().chain(said).collect();
        let frame = frame.filter(is_said)?.select_columns(&columns)?;
        let mut rows = Rows::of(frame).await?;
        let mut found = HashMap::new();
        while let Some(batch) = rows.next().await? {
            for row in 0..batch.num_rows() {
                let cell = |column| Ok(array_value_to_string(batch.column(column), row)?);
                let words: Vec<String> = (KEY.len()..columns.len())
                    .map(cell)
                    .collect::<Result<_>>()?;
                found.insert((cell(0)?, cell(1)?), words.join(";"));
            }
        }
        Ok(found)
    }
}

/// Images and labels to train on, beside what the queries choose by themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChosenImages {
    /// Filter for the images; `None` for those whose source is 'web' or 'synthetic' and, of all others, the masks that
    /// are labelled themselves.
    pub images: Option<ImageFilter>,
    /// Filter for images that show none of the classes.
    pub negatives: Option<ImageFilter>,
    /// Condition on labels of masks: SQL over the columns of `mask_labels`; `None` for all.
    pub mask_labels: Option<String>,
}

impl ChosenImages {
    /// The filters as SQL.
    async fn conditions(&self, snapshot: &Snapshot) -> Result<Conditions> {
        if let Some(mask_labels) = &self.mask_labels {
            let sql = Sql::new(snapshot).await?;
            sql.select(Table::MaskLabels, &["mask_label_id"], Some(mask_labels))
                .await?;
        }
        Ok(Conditions {
            images: condition(snapshot, self.images.as_ref()).await?,
            negatives: condition(snapshot, self.negatives.as_ref()).await?,
            mask_labels: self.mask_labels.clone(),
        })
    }
}

/// A filter as SQL over `images`.
async fn condition(snapshot: &Snapshot, images: Option<&ImageFilter>) -> Result<Option<String>> {
    let Some(images) = images else {
        return Ok(None);
    };
    images.check(snapshot).await?;
    let condition = images.to_sql()?;
    // Planned on its own first, so that only an expression can get into the query.
    let sql = Sql::new(snapshot).await?;
    sql.select(Table::Images, &["image_id"], condition.as_deref())
        .await?;
    Ok(Some(condition.unwrap_or_else(|| "true".to_owned())))
}

/// Conditions in SQL.
#[derive(Clone, Default)]
struct Conditions {
    /// Images to train on; `None` for those of the query itself.
    images: Option<String>,
    /// Images that show none of the classes.
    negatives: Option<String>,
    /// Labels of masks.
    mask_labels: Option<String>,
}

/// What is said of masks, which the queries read as a table.
const SAID: &str = "said_of_masks";

/// A query of `train/` as text that can be run again: with the extractors' ids in place of its parameter, the query that
/// it uses, and, if they are given, other conditions.
fn filled(
    template: &str,
    extractors: &[ExtractorId],
    conditions: &Conditions,
    inputs: &HeadInputs,
    numbers: Numbers,
) -> Result<String> {
    let parsed = |err: ParserError| Error::Query {
        query: "train/bags".to_owned(),
        reason: err.to_string(),
    };
    let expression = |text: &Option<String>| {
        let expression = text.as_deref().map(|text| {
            let parser = Parser::new(&GenericDialect {}).try_with_sql(text);
            parser.and_then(|mut parser| parser.parse_expr())
        });
        expression.transpose().map_err(parsed)
    };
    let mut filling = Filling {
        condition: expression(&conditions.images)?,
        negatives: expression(&conditions.negatives)?,
        ..Filling::new(extractors, inputs, numbers).map_err(parsed)?
    };
    let mut statement = only_select(template).map_err(parsed)?;
    let _ = statement.visit(&mut filling);
    let said_of_masks = format!("review/{SAID}");
    let mut said = only_select(Query::named(&said_of_masks)?.sql()).map_err(parsed)?;
    let mut said_filling = SaidFilling {
        condition: expression(&conditions.mask_labels)?,
        conditions: 0,
    };
    let _ = said.visit(&mut said_filling);
    match (
        (filling.places, filling.conditions, filling.selects),
        said_filling.conditions,
    ) {
        ((1, 1, 1), 1) => Ok(format!("WITH {SAID} AS (\n{said:#}\n)\n{statement:#}")),
        _ => Err(Error::Internal {
            what: "a query of train/ has not one place for the extractor, one for the condition on images, one for labels of masks \
                   and one for inputs",
        }),
    }
}

/// The SELECT of some extractors' masks with a column for each input.
pub(super) fn masks_with_inputs(extractors: &[ExtractorId], inputs: &HeadInputs) -> Result<String> {
    const TEXT: &str = "SELECT m.image_id, m.extractor_id, m.mask_index, m.embedding FROM masks m \
        WHERE m.extractor_id = $extractor";
    let parsed = |err: ParserError| Error::Query {
        query: "masks".to_owned(),
        reason: err.to_string(),
    };
    let mut filling = Filling::new(extractors, inputs, Numbers::Read).map_err(parsed)?;
    let mut statement = only_select(TEXT).map_err(parsed)?;
    let _ = statement.visit(&mut filling);
    Ok(statement.to_string())
}

/// The only statement of a text, which must be a SELECT.
fn only_select(text: &str) -> Result<Statement, ParserError> {
    let statements = Parser::parse_sql(&GenericDialect {}, text)?;
    let first = statements.into_iter().next();
    first
        .filter(|statement| matches!(statement, Statement::Query(_)))
        .ok_or_else(|| ParserError::ParserError("it is no SELECT".to_owned()))
}

/// What a training query yields of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// The numbers.
    Read,
    /// The ids of the rows that hold them.
    ById,
}

/// What an input adds to a SELECT over masks.
struct InputSql {
    items: Vec<SelectItem>,
    joins: Vec<Join>,
}

impl InputSql {
    /// The column of an input, the `at`-th, and the join that it needs.
    fn of(input: &HeadInput, at: usize, numbers: Numbers) -> Result<Self, ParserError> {
        /// Vectors of an embedder; `v` and `name` are replaced.
        const VECTORS: &str = "SELECT v.vector AS name FROM masks m LEFT JOIN vectors.name v \
            ON v.extractor_id = m.extractor_id AND v.image_id = m.image_id AND v.mask_index = m.mask_index";
        const SHAPE: &str =
            "SELECT mask_shape(m.rle, m.predicted_iou, m.stability_score) AS shape FROM masks m";
        const TOKENS: &str = "SELECT m.embedding AS embedding FROM masks m";
        let (text, name) = match input {
            HeadInput::Tokens => (TOKENS, ""),
            HeadInput::Shape => (SHAPE, ""),
            HeadInput::Vectors { embedder, .. } => (VECTORS, embedder.as_str()),
        };
        let mut query = Parser::new(&GenericDialect {})
            .try_with_sql(text)?
            .parse_query()?;
        let mut naming = Naming {
            table: format!("v{at}"),
            name: name.to_owned(),
        };
        let _ = query.visit(&mut naming);
        let (mut items, mut joins) = (Vec::new(), Vec::new());
        if let SetExpr::Select(select) = *query.body {
            items = select.projection;
            naming.rename_items(&mut items);
            if let ([SelectItem::ExprWithAlias { expr, alias }], Numbers::ById) =
                (&mut items[..], numbers)
            {
                if let Expr::CompoundIdentifier(parts) = expr
                    && let Some(column) = parts.last_mut()
                {
                    *column = Ident::new("_rowid");
                }
                *alias = Ident::new(id_column(at));
            }
            joins = select
                .from
                .into_iter()
                .flat_map(|from| from.joins)
                .collect();
            naming.rename_joins(&mut joins);
        }
        Ok(Self { items, joins })
    }
}

/// Replaces the table `v` and the embedder `name`.
struct Naming {
    table: String,
    name: String,
}

impl Naming {
    fn rename(&self, ident: &mut Ident) {
        match ident.value.as_str() {
            "v" => ident.value.clone_from(&self.table),
            "name" => *ident = Ident::with_quote('"', self.name.clone()),
            _ => {}
        }
    }

    fn rename_items(&self, items: &mut [SelectItem]) {
        for item in items {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.rename(alias);
            }
        }
    }

    fn rename_joins(&self, joins: &mut [Join]) {
        for join in joins {
            if let TableFactor::Table { name, alias, .. } = &mut join.relation {
                let parts = name.0.iter_mut().filter_map(|part| match part {
                    ObjectNamePart::Identifier(ident) => Some(ident),
                    ObjectNamePart::Function(_) => None,
                });
                parts.for_each(|ident| self.rename(ident));
                if let Some(alias) = alias {
                    self.rename(&mut alias.name);
                }
            }
        }
    }
}

impl VisitorMut for Naming {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let Some(table) = parts.first_mut()
        {
            self.rename(table);
        }
        ControlFlow::Continue(())
    }
}

struct Filling<'a> {
    inputs: Vec<InputSql>,
    /// SELECTs of `m.embedding`, which the inputs replace.
    selects: u32,
    extractors: &'a [ExtractorId],
    condition: Option<Expr>,
    negatives: Option<Expr>,
    /// Comparisons with `$extractor`.
    places: u32,
    conditions: u32,
}

impl<'a> Filling<'a> {
    /// Fills in extractors and inputs, and changes no condition.
    fn new(
        extractors: &'a [ExtractorId],
        inputs: &HeadInputs,
        numbers: Numbers,
    ) -> Result<Self, ParserError> {
        let inputs = inputs.iter().enumerate();
        let inputs = inputs.map(|(at, input)| InputSql::of(input, at, numbers));
        Ok(Self {
            inputs: inputs.collect::<Result<_, _>>()?,
            selects: 0,
            extractors,
            condition: None,
            negatives: None,
            places: 0,
            conditions: 0,
        })
    }
}

impl VisitorMut for Filling<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Select) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && let [from] = &select.from[..]
            && let TableFactor::Table { name, .. } = &from.relation
            && name.to_string() == Table::Images.name()
        {
            self.conditions += 1;
            if let Some(condition) = &self.condition {
                select.selection = Some(condition.clone());
                for item in &mut select.projection {
                    if let SelectItem::ExprWithAlias { expr, alias } = item
                        && alias.value == "bag"
                    {
                        *expr = Expr::value(Value::Boolean(true));
                    }
                }
            }
            if let Some(negatives) = &self.negatives {
                let negatives = Expr::Nested(Box::new(negatives.clone()));
                if let Some(condition) = select.selection.take() {
                    select.selection = Some(Expr::BinaryOp {
                        left: Box::new(Expr::Nested(Box::new(condition))),
                        op: BinaryOperator::Or,
                        right: Box::new(negatives.clone()),
                    });
                }
                for item in &mut select.projection {
                    let SelectItem::ExprWithAlias { expr, alias } = item else {
                        continue;
                    };
                    match alias.value.as_str() {
                        "negative" => *expr = negatives.clone(),
                        // Such an image may be labelled with a class all the same.
                        "bag" => {
                            *expr = Expr::BinaryOp {
                                left: Box::new(Expr::Nested(Box::new(expr.clone()))),
                                op: BinaryOperator::Or,
                                right: Box::new(negatives.clone()),
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        if let SetExpr::Select(select) = query.body.as_mut()
            && let Some(at) = select
                .projection
                .iter()
                .position(|item| item.to_string() == "m.embedding")
        {
            self.selects += 1;
            let items = self.inputs.iter().flat_map(|input| input.items.clone());
            select.projection.splice(at..=at, items);
            if let Some(from) = select.from.first_mut() {
                let joins = self.inputs.iter().flat_map(|input| input.joins.clone());
                from.joins.extend(joins);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } = expr
            && right.to_string() == "$extractor"
        {
            self.places += 1;
            let ids = self.extractors.iter();
            let literal = |id: &ExtractorId| Expr::value(Value::SingleQuotedString(id.to_string()));
            let mut ids: Vec<Expr> = ids.map(literal).collect();
            if ids.len() == 1 {
                if let Some(only) = ids.pop() {
                    **right = only;
                }
            } else {
                *expr = Expr::InList {
                    expr: left.clone(),
                    list: ids,
                    negated: false,
                };
            }
        }
        ControlFlow::Continue(())
    }
}

/// The relation of the labels that count, from which the condition chooses.
const CHOSEN: &str = "chosen";

/// Puts a condition on the labels of masks that count.
struct SaidFilling {
    condition: Option<Expr>,
    conditions: u32,
}

impl VisitorMut for SaidFilling {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Select) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && let [from] = &select.from[..]
            && let TableFactor::Derived {
                alias: Some(alias), ..
            } = &from.relation
            && alias.name.value == CHOSEN
        {
            self.conditions += 1;
            if let Some(condition) = &self.condition {
                select.selection = Some(condition.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_on_images_is_replaced_however_it_is_spelt() {
        let id = &[ExtractorId::of_bytes(b"extractor")][..];
        let tokens = HeadInputs::tokens();
        let template = Query::named("train/bags").unwrap().sql().to_owned();
        for template in [
            template.clone(),
            template.replace("source IN", "source   IN\n"),
        ] {
            let plain = filled(
                &template,
                id,
                &Conditions::default(),
                &tokens,
                Numbers::Read,
            )
            .unwrap();
            assert!(
                plain.contains(id[0].as_str()) && !plain.contains('$'),
                "{plain}"
            );
            assert!(plain.contains("source IN"), "{plain}");
            let conditions = |images: Option<&str>, negatives: Option<&str>| Conditions {
                images: images.map(str::to_owned),
                negatives: negatives.map(str::to_owned),
                mask_labels: None,
            };
            let mine = conditions(Some("split = 'train' -- mine"), None);
            let other = filled(&template, id, &mine, &tokens, Numbers::Read).unwrap();
            assert!(other.contains("split = 'train'"), "{other}");
            assert!(!other.contains("source IN"), "{other}");
            assert!(other.contains("false AS negative"), "{other}");
            assert!(other.contains("true AS bag"), "{other}");
            let both = conditions(Some("a = 1 OR b = 2"), Some("source = 'texture' OR c = 3"));
            let both = filled(&template, id, &both, &tokens, Numbers::Read).unwrap();
            let both = both.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in [
                "(source = 'texture' OR c = 3) AS negative",
                "(a = 1 OR b = 2) OR (source = 'texture' OR c = 3)",
            ] {
                assert!(both.contains(part), "{both}");
            }
            let annas = Conditions {
                mask_labels: Some("reviewer = 'anna'".to_owned()),
                ..Conditions::default()
            };
            let annas = filled(&template, id, &annas, &tokens, Numbers::Read).unwrap();
            let annas = annas.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                annas.contains("AS chosen WHERE reviewer = 'anna'")
                    || annas.contains("chosen WHERE reviewer = 'anna'"),
                "{annas}"
            );
        }
        let two = [id[0].clone(), ExtractorId::of_bytes(b"prompts")];
        let both = filled(
            &template,
            &two,
            &Conditions::default(),
            &tokens,
            Numbers::Read,
        )
        .unwrap();
        let list = format!("IN ('{}', '{}')", two[0], two[1]);
        assert!(both.contains(&list), "{both}");
        let none = Conditions::default();
        let by_id = filled(&template, id, &none, &tokens, Numbers::ById).unwrap();
        assert!(
            by_id.contains("m._rowid AS row_id_0") && !by_id.contains("embedding"),
            "{by_id}"
        );
        assert!(filled("SELECT 1", id, &none, &tokens, Numbers::Read).is_err());
    }
}

//! SQL over a store: `tests/slt`, what may not be run, reports, checks and push-down.

use std::collections::BTreeMap;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::sql::parser::DFParser;
use datafusion::sql::resolve::resolve_table_references;
use grainstore::Error;
use grainstore::error::CatalogueError;
use grainstore::ids::kind;
use grainstore::query::ParameterType;
use grainstore::query::{Query, QuerySession};
use grainstore::sql::Sql;
use grainstore::store::Changes;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner, strict_column_validator};

use crate::sql_store::{broken, healthy, id, predicted, store_with};

/// A query engine over a store with these rows; the directory lives as long as the guard.
async fn sql_over(changes: &[fn() -> Changes]) -> (tempfile::TempDir, Sql) {
    let (dir, store) = store_with(changes).await;
    let sql = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    (dir, sql)
}

/// Every cell as text: `NULL` for nulls and `(empty)` for the empty text, as sqllogictest has it.
pub(crate) fn cells(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, Error> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayFormatter| match column.value(row).to_string() {
                text if text.is_empty() => "(empty)".to_owned(),
                text => text,
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    Ok(rows)
}

fn given(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// A session of queries over a store with these rows.
async fn session_over(changes: &[fn() -> Changes]) -> (tempfile::TempDir, QuerySession) {
    let (dir, store) = store_with(changes).await;
    let snapshot = store.snapshot().await.unwrap();
    (dir, QuerySession::new(&snapshot).await.unwrap())
}

async fn rows_of(session: &QuerySession, query: &str, words: &[(&str, &str)]) -> Vec<Vec<String>> {
    let query = Query::named(query).unwrap();
    let rows = session.run(&query, &given(words)).await.unwrap();
    cells(&rows.collect().await.unwrap()).unwrap()
}

pub(crate) mod slt {
    use super::*;

    /// The engine that sqllogictest drives.
    struct Engine {
        runtime: Arc<tokio::runtime::Runtime>,
        sql: Arc<Sql>,
    }

    impl DB for Engine {
        type Error = Error;
        type ColumnType = DefaultColumnType;

        fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
            self.runtime.block_on(async {
                let found = self.sql.query(sql).await?;
                let fields = found.schema().fields().clone();
                Ok(DBOutput::Rows {
                    types: fields.iter().map(|f| letter(f.data_type())).collect(),
                    rows: cells(&found.collect().await?)?,
                })
            })
        }
    }

    fn letter(data_type: &DataType) -> DefaultColumnType {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
            number if number.is_integer() => DefaultColumnType::Integer,
            number if number.is_floating() => DefaultColumnType::FloatingPoint,
            _ => DefaultColumnType::Any,
        }
    }

    #[test]
    fn every_file_of_tests_slt() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (_dir, sql) = runtime.block_on(sql_over(&[healthy]));
        every_file(runtime, sql);
    }

    /// Runs the files over a store with the rows of [`healthy`].
    pub(crate) fn every_file(runtime: tokio::runtime::Runtime, sql: Sql) {
        let (runtime, sql) = (Arc::new(runtime), Arc::new(sql));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "slt"))
            .collect();
        files.sort();
        assert!(!files.is_empty());
        let mut failed = Vec::new();
        for file in files {
            let engine = || {
                let (runtime, sql) = (runtime.clone(), sql.clone());
                async move { Ok(Engine { runtime, sql }) }
            };
            let mut runner = Runner::new(engine);
            runner.with_column_validator(strict_column_validator);
            failed.extend(runner.run_file(file).err().map(|err| err.to_string()));
        }
        assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    }
}

mod read_only {
    use super::*;

    #[tokio::test]
    async fn statements_that_change_something_are_refused() {
        let (dir, sql) = sql_over(&[healthy]).await;
        let file = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(file("in.csv"), "a\n1\n").unwrap();
        let before = std::fs::read_dir(dir.path()).unwrap().count();
        let (csv, parquet, input) = (file("out.csv"), file("out.parquet"), file("in.csv"));
        for statement in [
            "CREATE TABLE t (a INT)".to_owned(),
            "CREATE TABLE t AS SELECT * FROM images".to_owned(),
            "CREATE OR REPLACE TABLE images AS SELECT 1".to_owned(),
            "CREATE VIEW v AS SELECT * FROM images".to_owned(),
            "CREATE SCHEMA s".to_owned(),
            "CREATE DATABASE d".to_owned(),
            "SELECT * INTO t FROM images".to_owned(),
            format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{input}'"),
            format!("CREATE EXTERNAL TABLE t (a INT) STORED AS PARQUET LOCATION '{parquet}'"),
            "INSERT INTO failures SELECT * FROM failures".to_owned(),
            "INSERT OVERWRITE failures SELECT * FROM failures".to_owned(),
            "DELETE FROM images".to_owned(),
            "UPDATE images SET width = 1".to_owned(),
            "TRUNCATE TABLE images".to_owned(),
            format!("COPY images TO '{parquet}'"),
            format!("COPY (SELECT 1 AS a) TO '{csv}' STORED AS CSV"),
            "DROP TABLE images".to_owned(),
            "DROP VIEW IF EXISTS v".to_owned(),
            "DROP FUNCTION rle_area".to_owned(),
            "SET datafusion.execution.batch_size = 1".to_owned(),
            "RESET datafusion.execution.batch_size".to_owned(),
            "START TRANSACTION".to_owned(),
            "COMMIT".to_owned(),
            "PREPARE p AS SELECT 1".to_owned(),
            "EXECUTE p".to_owned(),
            "EXPLAIN INSERT INTO failures SELECT * FROM failures".to_owned(),
            format!("EXPLAIN ANALYZE COPY images TO '{parquet}'"),
        ] {
            match sql.query(&statement).await {
                Err(Error::ReadOnlySql { .. }) => {}
                Err(other) => panic!("{statement}: {other}"),
                Ok(_) => panic!("{statement} was planned"),
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before);
        let images = sql.query("SELECT * FROM images").await.unwrap();
        assert_eq!(cells(&images.collect().await.unwrap()).unwrap().len(), 4);
    }

    #[tokio::test]
    async fn the_error_says_where_rows_come_from() {
        let (_dir, sql) = sql_over(&[]).await;
        let err = sql.query("DROP TABLE images").await.err().unwrap();
        let text = err.to_string();
        assert!(text.contains("only queries can be run here"), "{text}");
        assert!(text.contains("grainstore's own commands"), "{text}");
    }

    #[tokio::test]
    async fn files_are_not_tables() {
        let (dir, sql) = sql_over(&[]).await;
        let file = dir.path().join("x.csv").display().to_string();
        std::fs::write(&file, "a\n1\n").unwrap();
        for query in [
            "SELECT * FROM '/etc/passwd'".to_owned(),
            "SELECT * FROM 'x.csv'".to_owned(),
            format!("SELECT * FROM '{file}'"),
            format!("SELECT * FROM \"{file}\""),
            format!("SELECT * FROM read_csv('{file}')"),
            "SELECT * FROM parquet_metadata('x.parquet')".to_owned(),
            "SELECT 1; DROP TABLE images".to_owned(),
            "SELECT * FROM nothing".to_owned(),
            String::new(),
        ] {
            match sql.query(&query).await {
                Err(Error::DataFusion(_)) => {}
                Err(other) => panic!("{query}: {other}"),
                Ok(_) => panic!("{query} was planned"),
            }
        }
    }
}

pub(crate) mod reports {
    use super::*;

    #[tokio::test]
    async fn parameters_are_values_and_their_defaults_may_be_null() {
        let (_dir, sql) = session_over(&[healthy]).await;
        let odd = "o'hara'; DROP TABLE images; --";
        let items = async |parameters: &[(&str, &str)]| {
            let rows = rows_of(&sql, "review/failures", parameters).await;
            rows.into_iter()
                .map(|row| row[2].clone())
                .collect::<Vec<_>>()
        };
        let all = ["odd.jpg", "list.csv line 3", "empty.jpg"];
        assert_eq!(items(&[]).await, all);
        assert_eq!(items(&[("dataset", "NULL")]).await, all);
        assert_eq!(items(&[("dataset", "tiny")]).await, ["empty.jpg"]);
        assert_eq!(items(&[("dataset", odd)]).await, ["odd.jpg"]);
        for nothing in [
            "",
            "'tiny'",
            "tiny' OR '1'='1",
            "$dataset",
            "null",
            "\"tiny\"",
        ] {
            let query = Query::named("review/failures").unwrap();
            let refused = sql.run(&query, &given(&[("dataset", nothing)])).await;
            let message = refused.err().unwrap().to_string();
            let expected = format!("there is no data set '{nothing}'; there are");
            assert!(message.starts_with(&expected), "{message}");
        }
        assert_eq!(items(&[]).await, all);
    }

    #[tokio::test]
    async fn numbers_are_bound_as_numbers() {
        let (_dir, session) = session_over(&[healthy]).await;
        let with = async |min| {
            let parameters = [("min", min), ("dataset", "tiny")];
            let found = rows_of(&session, "multi_label_images", &parameters).await;
            found.len()
        };
        assert_eq!(with("1").await, 2);
        assert_eq!(with("2").await, 1);
        assert_eq!(with("3").await, 0);
        let query = Query::named("multi_label_images").unwrap();
        let fails = async |words: &[(&str, &str)]| {
            let failed = session.run(&query, &given(words)).await;
            failed.err().unwrap().to_string()
        };
        for (words, part) in [
            (
                ("min", "1 OR true"),
                "parameter 'min': expected a whole number, found '1 OR true'",
            ),
            (
                ("least", "1"),
                "there is no parameter 'least'; it takes dataset, min",
            ),
        ] {
            let text = fails(&[words]).await;
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn every_type_of_parameter_reaches_the_query() {
        let (_dir, session) = session_over(&[]).await;
        let text = "-- asks: x\n-- params: t TEXT = 'a; b' -- text\n--  n BIGINT -- whole\n\
            --  x DOUBLE = 0.5 -- number\n--  b BOOLEAN = NULL -- flag\n--  o ONE_OF(u|v) = u -- word\n\
            -- reads: images\n-- grain: one row\n-- columns: t, n, x, b, o\n\
            SELECT $t AS t, $n AS n, $x AS x, $b AS b, $o AS o";
        let query = Query::parse("mine", text).unwrap();
        for (words, expected) in [
            (given(&[("n", "7")]), ["a; b", "7", "0.5", "NULL", "u"]),
            (
                given(&[
                    ("n", "-1"),
                    ("t", "NULL"),
                    ("x", "2"),
                    ("b", "true"),
                    ("o", "v"),
                ]),
                ["NULL", "-1", "2.0", "true", "v"],
            ),
        ] {
            let rows = session.run(&query, &words).await.unwrap();
            assert_eq!(cells(&rows.collect().await.unwrap()).unwrap(), [expected]);
        }
        for (words, part) in [
            (&[][..], "parameter 'n' is missing"),
            (&[("n", "1"), ("o", "w")], "expected u or v, found 'w'"),
        ] {
            let failed = session.run(&query, &given(words)).await;
            let message = failed.err().unwrap().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    /// Words for all parameters that must be given, of things that the store has.
    pub(crate) fn words_for(query: &Query) -> HashMap<String, String> {
        let required = query.parameters().iter().filter(|it| it.default.is_none());
        let word = |kind: &ParameterType| match kind {
            ParameterType::Head => "head 7".to_owned(),
            ParameterType::Image => "a.jpg".to_owned(),
            ParameterType::Extractor => id::<kind::Extractor>(1).to_string(),
            ParameterType::Bigint => "1".to_owned(),
            ParameterType::Annotated => "tiny".to_owned(),
            other => panic!("{}: no word for {other:?}", query.name()),
        };
        required
            .map(|it| (it.name.clone(), word(&it.kind)))
            .collect()
    }

    #[tokio::test]
    async fn columns_are_those_of_the_header() {
        let (_dir, session) = session_over(&[healthy, predicted]).await;
        for query in Query::all().unwrap() {
            let rows = session.run(&query, &words_for(&query)).await;
            let rows = rows.unwrap_or_else(|err| panic!("{}: {err}", query.name()));
            let schema = rows.schema();
            let columns: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            let declared: Vec<_> = query.columns().split(", ").collect();
            assert_eq!(columns, declared, "{}", query.name());
            rows.collect().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_an_error_in_every_query() {
        let (_dir, session) = session_over(&[healthy, predicted]).await;
        let mut tried = BTreeMap::new();
        for query in Query::all().unwrap() {
            for parameter in query.parameters() {
                if matches!(
                    parameter.kind,
                    ParameterType::Text
                        | ParameterType::Bigint
                        | ParameterType::Double
                        | ParameterType::Boolean
                        | ParameterType::OneOf(_)
                ) {
                    continue;
                }
                let mut words = words_for(&query);
                words.insert(parameter.name.clone(), "typo".to_owned());
                let failed = session.run(&query, &words).await.err();
                let place = format!("{} --param {}=typo", query.name(), parameter.name);
                let Some(Error::Catalogue(CatalogueError::NoSuch {
                    name,
                    nearest,
                    kind,
                })) = failed
                else {
                    panic!("{place}: {failed:?}")
                };
                assert_eq!(
                    (name.as_str(), nearest.is_empty()),
                    ("typo", false),
                    "{place}"
                );
                *tried.entry(kind.as_str()).or_insert(0) += 1;
            }
        }
        for (kind, least) in [
            ("head", 30),
            ("policy", 20),
            ("class set", 15),
            ("data set with annotations", 15),
            ("data set", 4),
            ("split", 15),
            ("extractor", 2),
            ("image", 1),
        ] {
            assert!(
                tried.get(kind).is_some_and(|n| *n >= least),
                "{kind}: {tried:?}"
            );
        }
        // No parameter of these queries is a name that goes in as mere text, but a part of file names, and a reviewer who
        // may not have said anything yet.
        let may_be_new = ["review/image_list", "review/label_counts"];
        for query in Query::all().unwrap() {
            if may_be_new.contains(&query.name()) {
                continue;
            }
            let texts = query
                .parameters()
                .iter()
                .filter(|it| it.kind == ParameterType::Text);
            assert_eq!(texts.count(), 0, "{}", query.name());
        }
    }

    #[tokio::test]
    async fn queries_at_once_do_not_mix() {
        let (_dir, session) = session_over(&[healthy, predicted]).await;
        let query = Query::named("eval/object_counts").unwrap();
        let alone = async |dataset: &str| {
            let words = given(&[("head", "head 7"), ("dataset", dataset)]);
            let rows = session.run(&query, &words).await.unwrap();
            cells(&rows.collect().await.unwrap()).unwrap()
        };
        let (tiny, web) = (alone("tiny").await, alone("web").await);
        assert_ne!(tiny, web);
        for _ in 0..8 {
            let (one, other) = tokio::join!(alone("tiny"), alone("web"));
            assert_eq!((one, other), (tiny.clone(), web.clone()));
        }
    }

    #[test]
    fn tables_are_those_of_the_header() {
        for query in Query::all().unwrap() {
            let reads = |line: &str| {
                line.strip_prefix("-- reads:")
                    .map(str::trim)
                    .map(str::to_owned)
            };
            let declared = query.sql().lines().find_map(reads).unwrap();
            let declared: BTreeSet<_> = declared.split(", ").map(str::to_owned).collect();
            let statements = DFParser::parse_sql(query.sql()).unwrap();
            assert_eq!(statements.len(), 1, "{}", query.name());
            let (tables, _ctes) = resolve_table_references(&statements[0], true).unwrap();
            let used: BTreeSet<_> = tables.iter().map(ToString::to_string).collect();
            assert_eq!(used, declared, "{}", query.name());
        }
    }

    /// A semi join looks at every pair of equal values, so values that repeat on both sides cost the product of their numbers.
    #[test]
    fn subqueries_of_in_are_distinct() {
        let mut seen = 0;
        for query in Query::all().unwrap() {
            for (at, found) in query.sql().match_indices(" IN (SELECT ") {
                let rest = &query.sql()[at + found.len()..];
                assert!(rest.starts_with("DISTINCT "), "{}", query.name());
                seen += 1;
            }
        }
        assert!(seen > 0);
    }

    #[tokio::test]
    async fn reviews_count_what_is_there() {
        let (_dir, sql) = session_over(&[healthy]).await;
        assert_eq!(
            rows_of(&sql, "review/datasets", &[]).await,
            [
                ["tiny", "target", "val", "2", "2", "2", "3"],
                ["web", "synthetic", "NULL", "1", "0", "0", "0"],
                ["web", "web", "train", "1", "1", "1", "1"],
            ]
        );
        assert_eq!(
            rows_of(&sql, "review/labels", &[]).await,
            [
                ["tiny", "dog", "2", "1", "0"],
                ["tiny", "cat", "1", "1", "1"],
                ["web", "dog", "1", "1", "0"],
            ]
        );
        let web = rows_of(&sql, "review/labels", &[("dataset", "web")]).await;
        assert_eq!(web, [["web", "dog", "1", "1", "0"]]);
        let multi = rows_of(&sql, "review/multi_label_images", &[]).await;
        assert_eq!(multi[0][1..], ["a.jpg", "2", "cat, dog"]);
        assert_eq!(multi.len(), 1);
    }
}

mod checks {
    use super::*;

    async fn found(session: &QuerySession) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for query in Query::all().unwrap() {
            if let Some(name) = query.name().strip_prefix("check/") {
                let rows = rows_of(session, query.name(), &[]).await;
                found.push((name.to_owned(), rows.len()));
            }
        }
        found
    }

    #[tokio::test]
    async fn a_healthy_store_has_no_findings() {
        for rows in [&[][..], &[healthy as fn() -> Changes]] {
            let (_dir, sql) = session_over(rows).await;
            for (check, rows) in found(&sql).await {
                assert_eq!(rows, 0, "{check}");
            }
        }
    }

    #[tokio::test]
    async fn every_check_finds_the_rows_made_for_it() {
        let (_dir, sql) = session_over(&[healthy, broken]).await;
        let expected = [
            ("class_sets_in_order", 4),
            ("embedders_once", 1),
            ("embeddings_once", 1),
            ("embeddings_vectors", 2),
            ("evaluations_once", 1),
            ("extractions_masks", 4),
            ("extractions_once", 1),
            ("extractors_once", 1),
            ("extractors_values", 1),
            ("failures_once", 1),
            ("ground_truth_geometry", 6),
            ("ground_truth_once", 1),
            ("ground_truth_without_image", 1),
            ("heads_once", 1),
            ("image_features_once", 1),
            ("images_once", 1),
            ("images_values", 7),
            ("labels_once", 1),
            ("labels_without_image", 1),
            ("mask_labels_once", 1),
            ("mask_labels_without_mask", 2),
            ("masks_geometry", 4),
            ("masks_once", 1),
            ("masks_without_extractor", 1),
            ("masks_without_image", 1),
            ("policies_once", 1),
            ("predictions_once", 1),
            ("predictions_without_head", 1),
            ("predictions_without_mask", 1),
            ("predictions_without_policy", 1),
            ("prompts_once", 1),
            ("prompts_without_mask", 2),
            ("vectors_once", 1),
            ("vectors_without_mask", 2),
        ];
        let expected = expected.map(|(check, rows)| (check.to_owned(), rows));
        assert_eq!(found(&sql).await, expected);
    }
}

mod push_down {
    use super::*;

    async fn physical_plan(sql: &Sql, query: &str) -> String {
        let rows = sql.query(&format!("EXPLAIN {query}")).await.unwrap();
        let rows = cells(&rows.collect().await.unwrap()).unwrap();
        let physical = rows.into_iter().find(|row| row[0] == "physical_plan");
        physical.unwrap()[1].clone()
    }

    #[tokio::test]
    async fn filters_and_projections_reach_the_scan() {
        let (_dir, sql) = sql_over(&[healthy]).await;
        let plan = physical_plan(&sql, "SELECT image_id FROM masks WHERE area > 5").await;
        assert!(plan.contains("projection=[image_id]"), "{plan}");
        assert!(plan.contains("projection=[area]"), "{plan}");
        assert!(plan.contains("full_filter=area > Int64(5)"), "{plan}");
        assert!(!plan.contains("FilterExec"), "{plan}");
        assert!(!plan.contains("embedding"), "{plan}");

        let few = physical_plan(&sql, "SELECT mask_index FROM masks LIMIT 2").await;
        assert!(few.contains("projection=[mask_index]"), "{few}");
        assert!(few.contains("range_before=Some(0..2)"), "{few}");
    }

    #[tokio::test]
    async fn functions_are_applied_in_the_scan() {
        let (_dir, sql) = sql_over(&[healthy]).await;
        let query = "SELECT count(*) FROM masks WHERE rle_area(rle) > 5";
        let plan = physical_plan(&sql, query).await;
        assert!(plan.contains("projection=[rle]"), "{plan}");
        assert!(
            plan.contains("full_filter=rle_area(rle) > Int64(5)"),
            "{plan}"
        );
        assert!(!plan.contains("FilterExec"), "{plan}");
        assert!(!plan.contains("embedding"), "{plan}");
    }

    #[tokio::test]
    async fn counting_rows_reads_nothing() {
        let (_dir, sql) = sql_over(&[healthy]).await;
        let plan = physical_plan(&sql, "SELECT count(*) FROM masks").await;
        assert!(plan.contains("7 as count(*)"), "{plan}"); // from the table's metadata
        assert!(!plan.contains("LanceRead"), "{plan}");
    }

    #[tokio::test]
    async fn no_query_reads_embeddings() {
        let (_dir, sql) = sql_over(&[healthy]).await;
        let scan = physical_plan(&sql, "SELECT * FROM masks").await;
        let reads = |plan: &str| {
            let mut words = plan.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| word == "embedding")
        };
        assert!(reads(&scan), "{scan}"); // so the word would be seen
        for query in Query::all().unwrap() {
            if query.parameters().is_empty() {
                let plan = physical_plan(&sql, query.sql()).await;
                assert!(!reads(&plan), "{}: {plan}", query.name());
            }
        }
    }
}

#[tokio::test]
async fn a_decoded_png_shows_the_mask() {
    let (_dir, sql) = sql_over(&[healthy]).await;
    let query = "SELECT rle_decode_png(rle) FROM ground_truth WHERE external_id = 2";
    let rows = sql.query(query).await.unwrap().collect().await.unwrap();
    let png = rows[0].column(0).as_binary::<i32>().value(0);
    let picture = image::load_from_memory(png).unwrap();
    assert_eq!(picture.color(), image::ColorType::L8);
    assert_eq!((picture.width(), picture.height()), (4, 3));
    assert_eq!(picture.as_bytes(), [0, 255, 255, 255].repeat(3));
}

//! `grainstore demo`

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use grainstore::catalogue::find_head;
use grainstore::scenes::{DataSet, write_data_set};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Ended, Global, print_json};
use crate::web::Options;

/// The model of the demo. It is trained on generated scenes only.
const MODEL: &[u8] = include_bytes!("../../assets/demo/sam_demo.safetensors");
/// The class set of the coarse head.
const GROUPS: &str = include_str!("../../assets/demo/groups.toml");

/// Show the complete workflow on generated photos: ingest, extract once, train twice, annotate, evaluate, export.
///
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore demo
  grainstore demo --where /tmp/demo
  grainstore demo --review                                   # then label its masks in the browser
  grainstore demo --only-scenes --where /tmp/scenes          # only the photos and the model")]
pub struct Args {
    /// Directory for all files of the demo. It must be empty or new.
    #[arg(long = "where", default_value = "grainstore-demo", value_name = "DIR")]
    directory: PathBuf,
    /// Number of training photos.
    #[arg(long, default_value_t = DataSet::default().train, value_name = "N")]
    train_images: usize,
    /// Number of test photos.
    #[arg(long, default_value_t = DataSet::default().test, value_name = "N")]
    test_images: usize,
    /// Seed of the scenes: another number gives other photos.
    #[arg(long, default_value_t = DataSet::default().seed, value_name = "N")]
    scene_seed: u64,
    /// Epochs per training.
    #[arg(long, default_value_t = 40, value_name = "N")]
    epochs: u32,
    /// Generate the photos, and write the model and the groups of their classes; then stop.
    #[arg(long)]
    only_scenes: bool,
    /// Open the review page on the demo's store; if the demo ran there before, it is not run again.
    #[arg(long, conflicts_with = "only_scenes")]
    review: bool,
}

/// The result of the demo.
#[derive(Debug, Serialize)]
struct Summary {
    /// Seconds of each step.
    steps: Vec<(&'static str, f64)>,
    heads: Vec<HeadMetrics>,
    directory: PathBuf,
}

#[derive(Debug, Serialize)]
struct HeadMetrics {
    head: &'static str,
    classes: u64,
    miou: Option<f64>,
    ap50: Option<f64>,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let directory = args.directory.clone();
    let store = directory.join("store");
    let review = args.review;
    if !review || !store.exists() {
        // In this thread, because what is printed belongs to this call.
        let ended = tokio::task::block_in_place(|| demo(&args, global))?;
        if !review {
            return Ok(ended);
        }
    }
    let of_demo = Global {
        store: store.to_string_lossy().into_owned(),
        ..global.clone()
    };
    let store = super::open(&of_demo).await?;
    if find_head(&store.snapshot().await?, "coarse").await.is_err() {
        bail!(
            "the demo in '{}' did not come to its end; remove it, or name another place with --where",
            directory.display()
        );
    }
    let options = Options {
        head: Some("fine".to_owned()),
        checkpoint: Some(directory.join("sam_demo.safetensors")).filter(|file| file.exists()),
        reviewer: std::env::var("GRAINSTORE_REVIEWER").ok(),
        ..Options::local()
    };
    super::review::serve(store, &options, global).await
}

fn demo(args: &Args, global: &Global) -> anyhow::Result<Ended> {
    let directory = &args.directory;
    if std::fs::read_dir(directory).is_ok_and(|mut inside| inside.next().is_some()) {
        bail!(
            "'{}' is not empty; name another place with --where, or remove it",
            directory.display()
        );
    }
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create '{}'", directory.display()))?;
    let set = DataSet {
        seed: args.scene_seed,
        train: args.train_images,
        test: args.test_images,
    };
    let started = Instant::now();
    let scenes = directory.join("scenes");
    write_data_set(&scenes, set)?;
    let file = |name: &str| directory.join(name);
    std::fs::write(file("sam_demo.safetensors"), MODEL)?;
    std::fs::write(file("groups.toml"), GROUPS)?;
    if args.only_scenes {
        if global.json {
            print_json(&json!({
                "train_images": set.train, "test_images": set.test, "directory": scenes,
                "checkpoint": file("sam_demo.safetensors"), "groups": file("groups.toml"),
            }))?
        } else {
            outln!(
                "{} photos to train on and {} to test on in '{}'; the model that finds their masks is '{}'",
                set.train,
                set.test,
                scenes.display(),
                file("sam_demo.safetensors").display()
            )
        }
        return Ok(Ended::Done);
    }
    let mut demo = Demo {
        directory,
        global,
        steps: vec![("making scenes", started.elapsed().as_secs_f64())],
    };
    let path = |name: &str| file(name).display().to_string();

    let test = ("--where", "split = 'test'");
    let from = "--source synthetic --split train --dataset scenes";
    demo.step(
        "ingesting",
        "ingest",
        &[("images", &path("scenes/train"))],
        from,
    )?;
    let coco = [
        ("--annotations", &*path("scenes/test.json")),
        ("--images", &path("scenes/test")),
    ];
    demo.step(
        "ingesting",
        "ingest coco",
        &coco,
        "--split test --dataset scenes",
    )?;
    let checkpoint = [("--checkpoint", &*path("sam_demo.safetensors"))];
    demo.step(
        "extracting (SAM, once)",
        "extract",
        &checkpoint,
        "--points-per-side 8",
    )?;
    // Each training photo shows one object, so a head can learn the background from them. docs/train.md says how the
    // options were chosen, on other scenes.
    let how = format!(
        "--loss mil+distill+refine --members 2 --epochs {}",
        args.epochs
    );
    let groups = [("--file", &*path("groups.toml"))];
    demo.step(
        "training 'fine'",
        "classes add kinds --from labels",
        &[],
        "--dataset scenes",
    )?;
    demo.step(
        "training 'fine'",
        "train --name fine --classes kinds",
        &[],
        &how,
    )?;
    demo.step("training 'coarse'", "classes add groups", &groups, "")?;
    demo.step(
        "training 'coarse'",
        "train --name coarse --classes groups",
        &[],
        &how,
    )?;
    let mut heads = Vec::new();
    for (head, classes) in [("fine", 6), ("coarse", 3)] {
        let which = [("--head", head), test];
        demo.step("annotating", "annotate", &which, "--map vote:0.4")?;
        let metrics = demo.evaluate(head)?;
        heads.push(HeadMetrics {
            head,
            classes,
            miou: overall(&metrics, "eval/miou", "miou"),
            ap50: overall(&metrics, "eval/coco", "ap50"),
        });
    }
    for (head, file) in [("fine", "fine.json"), ("coarse", "coarse.json")] {
        let to = [
            ("--head", head),
            ("--supercategories", "groups"),
            ("-o", &path(file)),
        ];
        demo.step("exporting", "export coco", &to, "")?;
    }
    let sheet = [test, ("--head", "fine"), ("-o", &path("overlays.png"))];
    demo.step("drawing", "show", &sheet, "--limit 12 --side 240")?;
    for (head, file) in [("fine", "fine.html"), ("coarse", "coarse.html")] {
        let to = [("--head", head), ("-o", &path(file))];
        demo.step("drawing", "report", &to, "--split test")?;
    }
    let summary = Summary {
        steps: demo.steps,
        heads,
        directory: directory.clone(),
    };
    if global.json {
        print_json(&summary)?
    } else {
        print(&summary)?
    }
    Ok(Ended::Done)
}

/// A demo in progress.
struct Demo<'a> {
    directory: &'a Path,
    global: &'a Global,
    /// Seconds of each step.
    steps: Vec<(&'static str, f64)>,
}

impl Demo<'_> {
    /// Runs a command of this program with the arguments `words`, `options` and `more`, in this order. Its output goes
    /// to the demo's own.
    fn step(
        &mut self,
        name: &'static str,
        words: &str,
        options: &[(&str, &str)],
        more: &str,
    ) -> anyhow::Result<()> {
        let out = if self.global.json {
            // stdout is for the summary.
            Stdio::from(io::stderr())
        } else {
            Stdio::inherit()
        };
        let options = options.iter().flat_map(|(option, value)| [*option, *value]);
        let args: Vec<&str> = words
            .split(' ')
            .chain(options)
            .chain(more.split_whitespace())
            .collect();
        self.timed(name, &args, |command| Ok(command.stdout(out).status()?))?;
        Ok(())
    }

    /// Evaluates a head on the test photos, and prints the two most important metrics.
    fn evaluate(&mut self, head: &'static str) -> anyhow::Result<Value> {
        let args = ["eval", "--head", head, "--split", "test", "--json"];
        let mut found = Vec::new();
        self.timed("evaluating", &args, |command| {
            let output = command.stderr(Stdio::inherit()).output()?;
            found = output.stdout;
            Ok(output.status)
        })?;
        let metrics: Value = serde_json::from_slice(&found)?;
        let show = |query, metric| {
            overall(&metrics, query, metric).map_or("-".to_owned(), |it| format!("{it:.3}"))
        };
        let line = format!(
            "mIoU {}, mask AP50 {}",
            show("eval/miou", "miou"),
            show("eval/coco", "ap50")
        );
        if self.global.json {
            errln!("{line}")
        } else {
            outln!("{line}")
        }
        Ok(metrics)
    }

    fn timed(
        &mut self,
        name: &'static str,
        args: &[&str],
        run: impl FnOnce(&mut Command) -> anyhow::Result<std::process::ExitStatus>,
    ) -> anyhow::Result<()> {
        if !self.global.quiet {
            let shown: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
            errln!("\n$ grainstore {}", shown.join(" "));
        }
        let started = Instant::now();
        let mut command = super::this_program()?;
        command
            .args(args)
            .env("GRAINSTORE_STORE", self.directory.join("store"));
        if self.global.quiet {
            command.arg("--quiet");
        }
        let status = run(&mut command)?;
        let seconds = started.elapsed().as_secs_f64();
        match self.steps.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += seconds,
            None => self.steps.push((name, seconds)),
        }
        if status.success() {
            Ok(())
        } else {
            bail!(
                "'grainstore {}' failed; its messages are above",
                args.join(" ")
            )
        }
    }
}

fn overall(evaluation: &Value, query: &str, metric: &str) -> Option<f64> {
    let metrics = evaluation.get("metrics")?.as_array()?;
    let is = |it: &Value, key, word: &str| it.get(key).and_then(Value::as_str) == Some(word);
    let found = metrics.iter().find(|it| {
        is(it, "query", query)
            && is(it, "metric", metric)
            && it.get("class").is_some_and(Value::is_null)
    });
    found?.get("value")?.as_f64()
}

/// An argument as it would be typed.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=".contains(c);
    if argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("\"{argument}\"")
    }
}

fn print(summary: &Summary) -> anyhow::Result<()> {
    outln!("\n{:<28}seconds", "step");
    for (name, seconds) in &summary.steps {
        outln!("{name:<28}{seconds:>7.1}");
    }
    let total: f64 = summary.steps.iter().map(|(_, seconds)| seconds).sum();
    outln!("{:<28}{total:>7.1}", "total");
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    outln!(
        "\n{:<10}{:>8}{:>22}{:>12}",
        "head",
        "classes",
        "mIoU with background",
        "mask AP50"
    );
    for it in &summary.heads {
        outln!(
            "{:<10}{:>8}{:>22}{:>12}",
            it.head,
            it.classes,
            number(it.miou),
            number(it.ap50)
        );
    }
    let seconds = |name: &str| {
        summary
            .steps
            .iter()
            .find(|(known, _)| known.starts_with(name))
            .map_or(0.0, |it| it.1)
    };
    let file = |name: &str| summary.directory.join(name).display().to_string();
    outln!(
        "\nSegment Anything ran once, for {:.0} s. Each new set of classes took {:.0} s of training.\n\n\
         overlays   {}\n\
         reports    {}, {}\n\
         COCO JSON  {}, {}\n\
         store      {}: 'export GRAINSTORE_STORE={}' and continue with 'grainstore sql', 'grainstore show', ...",
        seconds("extracting"),
        seconds("training 'coarse'"),
        file("overlays.png"),
        file("fine.html"),
        file("coarse.html"),
        file("fine.json"),
        file("coarse.json"),
        file("store"),
        file("store")
    );
    Ok(())
}

//! `grainstore review`

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::bail;
use grainstore::device::{DeviceName, Precision};
use grainstore::store::Store;

use super::{Ended, Global};
use crate::web::{Options, Server};

/// Open a page in the browser on which a person labels masks by keys, trains heads and sees their metrics move.
///
/// The page is served by this program, to this machine alone; it asks nothing of any other. A label that it shows as
/// saved is on the disk. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore review --reviewer anna
  grainstore review --head fine --port 8080
  grainstore review --checkpoint sam_vit_b_01ec64.pth      # and add masks by clicks, a box or a brush
  grainstore review --read-only
  grainstore review --host 0.0.0.0 --allow-remote      # to other machines: whoever has the address can label")]
pub struct Args {
    /// Who labels: a name.
    #[arg(long, env = "GRAINSTORE_REVIEWER", value_name = "NAME")]
    reviewer: Option<String>,
    /// Name or id of the head that the page begins with [default: the newest].
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// Weights of Segment Anything, to add masks by clicks, a box or a brush: those that 'extract' ran on, so that heads
    /// predict the added masks, too. With 'extract --keep-features' a click is answered at once, else a photo is encoded at
    /// its first click.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Device that the model runs on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu, tch:cuda:N.
    #[arg(long, default_value_t = DeviceName::Cpu, value_name = "DEVICE")]
    device: DeviceName,
    /// Number type that the model computes in: f32, bf16 or f16; that of 'extract'.
    #[arg(long, default_value_t = Precision::F32, value_name = "TYPE")]
    precision: Precision,
    /// Port to listen on; 0 for a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    /// Address to listen on. Any but this machine's own needs --allow-remote.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: IpAddr,
    /// Let other machines in. The connection is not encrypted: use it in networks that you trust.
    #[arg(long)]
    allow_remote: bool,
    /// Show everything, and change nothing.
    #[arg(long)]
    read_only: bool,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    if !args.host.is_loopback() && !args.allow_remote {
        bail!(
            "'{}' lets other machines in; --allow-remote says that you want that",
            args.host
        );
    }
    let store = if args.read_only {
        Store::open_with(&global.store, &global.storage()).await?
    } else {
        super::open(global).await?
    };
    let options = Options {
        host: args.host,
        port: args.port,
        reviewer: args.reviewer,
        read_only: args.read_only,
        head: args.head,
        checkpoint: args.checkpoint,
        device: args.device,
        precision: args.precision,
    };
    serve(store, &options, global).await
}

/// Serves the page until it is ended.
pub async fn serve(store: Store, options: &Options, global: &Global) -> anyhow::Result<Ended> {
    let server = Server::bind(store, options).await?;
    if global.json {
        super::print_json(&serde_json::json!({ "url": server.url() }))?;
    } else {
        outln!("{}", server.url());
    }
    if !global.quiet {
        errln!("open this address in a browser; Ctrl-C ends");
    }
    if server.adds_of_another_model().await? && !global.quiet {
        errln!(
            "no masks of the store are of this checkpoint in this precision, so its heads do not predict the masks that you add"
        );
    }
    if options.host.is_unspecified() && !global.quiet {
        errln!(
            "from other machines, put this machine's address in the place of {}",
            options.host
        );
    }
    let is_training = server.run().await?;
    if is_training {
        errln!("the training is given up");
        // Its threads cannot be stopped, and the runtime would wait for them.
        std::process::exit(0);
    }
    Ok(Ended::Done)
}

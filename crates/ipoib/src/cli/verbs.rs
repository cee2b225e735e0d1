//! The verbs that ask a running lab for something.

use std::{
    fs::File,
    io::{self, IsTerminal},
    net::ToSocketAddrs,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use ib_fabric::topology::{UdpEnds, parse_duration};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    args::{
        BindArgs, CaptureArgs, FaultHostArgs, FaultLinkArgs, FaultSmArgs, InjectArgs, ListArgs, ShowArgs,
        StopArgs, TargetArgs,
    },
    output, render, target,
};
use crate::{
    control::{CaptureFilter, Client, LinkFault, SmFault, packet_of, schema::SCHEMA},
    os::rundir::LabEntry,
};

/// `show`.
pub(super) fn show(args: ShowArgs) -> Result<ExitCode> {
    let document = target::connect(&args.target)?.show(args.noun, args.host)?;
    if args.json {
        output::print_json(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    match render::table(args.noun, &document, args.all) {
        Some(table) => output::print(&table)?,
        None => eprintln!("ipoib: there are no {} to show", args.noun),
    }
    Ok(ExitCode::SUCCESS)
}

/// `fault link`.
pub(super) fn fault_link(args: &FaultLinkArgs) -> Result<ExitCode> {
    let fault = LinkFault::read(&args.fault, args.amount.as_deref());
    let fault = fault.map_err(anyhow::Error::msg).context("fault link")?;
    target::connect(&args.target)?.fault_link(&args.link, fault).context("fault link")?;
    Ok(ExitCode::SUCCESS)
}

/// `fault host`.
pub(super) fn fault_host(args: &FaultHostArgs) -> Result<ExitCode> {
    target::connect(&args.target)?.fault_host(&args.host, args.fault).context("fault host")?;
    Ok(ExitCode::SUCCESS)
}

/// `fault sm`.
pub(super) fn fault_sm(args: FaultSmArgs) -> Result<ExitCode> {
    let fault = SmFault::read(&args.fault, args.amount.as_deref());
    let fault = fault.map_err(anyhow::Error::msg).context("fault sm")?;
    target::connect(&args.target)?.fault_sm(args.node, fault).context("fault sm")?;
    Ok(ExitCode::SUCCESS)
}

/// `fault inject`.
pub(super) fn inject(args: &InjectArgs) -> Result<ExitCode> {
    packet_of(&args.packet, args.seal).map_err(anyhow::Error::msg).context("fault inject")?;
    let mut lab = target::connect(&args.target)?;
    lab.inject(&args.port, &args.packet, args.seal).context("fault inject")?;
    Ok(ExitCode::SUCCESS)
}

/// `fabric bind`.
pub(super) fn bind(args: &BindArgs) -> Result<ExitCode> {
    let idle = args.idle.as_deref().map(parse_duration).transpose().context("--idle")?;
    let ends = UdpEnds::parse(&args.udp, &address_of(&args.peer)?).context("fabric bind")?;
    target::connect(&args.target)?.bind(&args.port, &ends, idle).context("fabric bind")?;
    Ok(ExitCode::SUCCESS)
}

/// `NAME:PORT` as `ADDRESS:PORT`; anything else as it is.
fn address_of(peer: &str) -> Result<String> {
    let is_name = peer.rsplit_once(':').is_some_and(|(name, port)| {
        name.contains(char::is_alphabetic) && !name.starts_with('[') && port.parse::<u16>().is_ok()
    });
    if !is_name {
        return Ok(peer.to_owned());
    }
    let found = peer.to_socket_addrs().with_context(|| format!("--peer {peer}: no such name"))?.next();
    found
        .map(|address| address.to_string())
        .with_context(|| format!("--peer {peer}: the name has no address"))
}

/// `fabric unbind`.
pub(super) fn unbind(target: &TargetArgs, port: &str) -> Result<ExitCode> {
    target::connect(target)?.unbind(port).context("fabric unbind")?;
    Ok(ExitCode::SUCCESS)
}

/// `sm sweep`.
pub(super) fn sweep(target: &TargetArgs) -> Result<ExitCode> {
    target::connect(target)?.sweep().context("sm sweep")?;
    Ok(ExitCode::SUCCESS)
}

/// `sm start`.
pub(super) fn start_sm(target: &TargetArgs, node: Option<String>, priority: Option<u8>) -> Result<ExitCode> {
    target::connect(target)?.start_sm(node, priority).context("sm start")?;
    Ok(ExitCode::SUCCESS)
}

/// `sm kill`.
pub(super) fn kill_sm(target: &TargetArgs, node: Option<String>) -> Result<ExitCode> {
    target::connect(target)?.kill_sm(node).context("sm kill")?;
    Ok(ExitCode::SUCCESS)
}

/// `stop`.
pub(super) fn stop(args: &StopArgs) -> Result<ExitCode> {
    let lab = target::find(&args.target)?;
    target::connect_to(&lab)?.stop().context("stop")?;
    // It no longer talks, but may still be putting things away.
    let same = |other: &LabEntry| other.name == lab.name && other.pid == lab.pid;
    let begun = Instant::now();
    while target::running()?.iter().any(same) {
        if begun.elapsed() > STOP_PATIENCE {
            bail!(
                "stop: lab {} has not ended yet: see what its process {} does",
                lab.name,
                lab.pid.unwrap_or(0)
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(ExitCode::SUCCESS)
}

/// How long a lab may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// `list`.
pub(super) fn list(args: &ListArgs) -> Result<ExitCode> {
    let labs: Vec<Value> = target::running()?
        .iter()
        .map(|lab| {
            let info = Client::connect(&target::socket(lab)).and_then(|mut client| client.info());
            // A lab that is just starting or ending is there, but does not talk.
            let silent = || json!({ "name": lab.name, "pid": lab.pid, "state": "silent" });
            info.ok().and_then(|info| serde_json::to_value(info).ok()).unwrap_or_else(silent)
        })
        .collect();
    let none = labs.is_empty();
    let document = json!({ "schema": SCHEMA, "labs": labs });
    if args.json {
        output::print_json(&document)?;
    } else if let Some(table) = render::labs(&document) {
        output::print(&table)?;
    } else {
        eprintln!("ipoib: no lab runs");
    }
    Ok(if none { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `capture`.
pub(super) fn capture(args: CaptureArgs) -> Result<ExitCode> {
    let CaptureArgs { target, file, links, hosts } = args;
    let mut client = target::connect(&target)?;
    let to_stdout = file == Path::new("-");
    let to = if to_stdout { own_stdout()? } else { create(&file)? };
    let summary = client.capture(CaptureFilter { links, hosts }, to, interrupted).context("capture")?;
    match summary.error {
        // Whoever read our output has enough.
        Some(_) if to_stdout => {}
        Some(error) => bail!("{}: cannot write: {error}", file.display()),
        None => {}
    }
    eprintln!("ipoib: {} packets recorded, {} dropped", summary.packets, summary.dropped);
    Ok(ExitCode::SUCCESS)
}

fn own_stdout() -> Result<OwnedFd> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        bail!("capture: a terminal cannot show packets: name a file, or pipe into `tshark -r -`");
    }
    stdout.as_fd().try_clone_to_owned().context("standard output")
}

/// The file as it is: the lab empties it once it knows what to record.
fn create(file: &Path) -> Result<OwnedFd> {
    let created = File::options().write(true).create(true).truncate(false).open(file);
    Ok(created.with_context(|| format!("{}: cannot write", file.display()))?.into())
}

/// Comes back when the user has enough.
async fn interrupted() {
    async fn one(signal: io::Result<Signal>) {
        match signal {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // It cannot be waited for; then it acts by itself.
            Err(_) => std::future::pending().await,
        }
    }
    tokio::select! {
        () = one(signal(SignalKind::interrupt())) => {}
        () = one(signal(SignalKind::terminate())) => {}
        () = one(signal(SignalKind::hangup())) => {}
    }
}

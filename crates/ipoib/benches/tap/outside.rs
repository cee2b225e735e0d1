//! What is not ours: the kernel's veth, and programs that people use between hosts, where they are installed.

use std::{
    fs,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use ipoib::os::{
    link::Netlink,
    space::{HostSpace, Lifetime},
};

use super::{
    subject::Way,
    world::{MTU, Process, World},
};

/// The path of a program; none if it is not installed.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.exists())
}

fn run(mut command: Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !done.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn in_host(host: &HostSpace, program: &Path, words: &[&str]) -> Result<String> {
    let mut command = host.command(program, Lifetime::Parent);
    command.args(words);
    run(command)
}

fn start(host: &HostSpace, program: &Path, words: &[&str]) -> Result<Rc<Process>> {
    let mut command = host.command(program, Lifetime::Parent);
    // Some end with their standard input.
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Rc::new(Process(command.spawn().with_context(|| format!("{command:?}"))?)))
}

/// Waits until both hosts have the interface `name`.
fn appear(hosts: &[HostSpace; 2], name: &str) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    for host in hosts {
        while !host.enter_with(|| Netlink::open().is_ok_and(|mut n| n.index_of(name).is_ok_and(|i| i > 0)))? {
            if Instant::now() > until {
                bail!("{name} does not appear");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// A pair of the kernel's own.
pub(crate) fn veth(world: &mut World, name: &str, offloads: bool) -> Result<Option<Way>> {
    let (Some(ip), ethtool) = (find("ip"), find("ethtool")) else { return Ok(None) };
    let there = format!("/proc/{}/fd/{}", std::process::id(), world.hosts[1].fds().net.as_raw_fd());
    in_host(
        &world.hosts[0],
        &ip,
        &["link", "add", name, "type", "veth", "peer", "name", name, "netns", &there],
    )?;
    if !offloads {
        let Some(ethtool) = ethtool else { return Ok(None) };
        for host in &world.hosts {
            in_host(
                host,
                &ethtool,
                &["-K", name, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"],
            )?;
        }
    }
    world.furnish(name, MTU).map(Some)
}

/// WireGuard in user space, over a pair of the kernel's.
pub(crate) fn wireguard(world: &mut World, program: &str, options: &[&str]) -> Result<Option<Way>> {
    let (Some(found), Some(wg)) = (find(program), find("wg")) else { return Ok(None) };
    let (name, outer) = (&program[..5], format!("{}-out", &program[..5]));
    let Some(under) = veth(world, &outer, true)? else { return Ok(None) };
    let there = [Ipv4Addr::from_bits(under.server.to_bits() - 1), under.server];
    let mut processes = Vec::new();
    for host in &world.hosts {
        processes.push(start(host, &found, &[options, &[name]].concat())?);
    }
    appear(&world.hosts, name)?;
    let mut keys = Vec::new();
    for (i, host) in world.hosts.iter().enumerate() {
        let private = in_host(host, &wg, &["genkey"])?;
        let file = world.dir.join(format!("{name}-{i}"));
        fs::write(&file, &private)?;
        let file = file.to_str().context("a path of text")?.to_owned();
        in_host(host, &wg, &["set", name, "listen-port", "51820", "private-key", &file])?;
        keys.push(in_host(host, &wg, &["show", name, "public-key"])?);
    }
    for (i, host) in world.hosts.iter().enumerate() {
        let end = format!("{}:51820", there[1 - i]);
        let peer = ["peer", &keys[1 - i], "allowed-ips", "0.0.0.0/0", "endpoint", &end];
        in_host(host, &wg, &[&["set", name][..], &peer].concat())?;
    }
    // Its own headers take 60 octets of the MTU of the pair below.
    let mut way = world.furnish(name, MTU - 60)?;
    way.processes = processes;
    Ok(Some(way))
}

/// A switch in user space, with two TAPs.
pub(crate) fn vde(world: &mut World) -> Result<Option<Way>> {
    let (Some(switch), Some(plug)) = (find("vde_switch"), find("vde_plug2tap")) else { return Ok(None) };
    let socket = world.dir.join("vde").to_str().context("a path of text")?.to_owned();
    let mut processes = vec![start(&world.hosts[0], &switch, &["-s", &socket])?];
    let until = Instant::now() + Duration::from_secs(5);
    while !Path::new(&socket).join("ctl").exists() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    for host in &world.hosts {
        processes.push(start(host, &plug, &["-s", &socket, "vde"])?);
    }
    appear(&world.hosts, "vde")?;
    let mut way = world.furnish("vde", 1500)?;
    way.processes = processes;
    Ok(Some(way))
}

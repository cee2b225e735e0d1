//! What is measured: a table. Each row brings up a way from one host to another.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use ipoib::os::space::{HostSpace, Lifetime};

use super::{
    copier::Design,
    outside,
    world::{Process, World},
};

/// A way from one host to another.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its name, also on the command line.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Brings it up; nothing if the machine lacks what it needs.
    pub(crate) start: fn(&mut World) -> Result<Option<Way>>,
}

/// A subject that is up.
#[derive(Debug)]
pub(crate) struct Way {
    /// Where the client and the server run.
    pub(crate) ends: [Place; 2],
    /// The server's address.
    pub(crate) server: Ipv4Addr,
    /// What lies between; ended when this is dropped.
    pub(crate) processes: Vec<std::rc::Rc<Process>>,
}

/// A host.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// One of our own.
    Space(HostSpace),
    /// One of a lab.
    Lab { ipoib: PathBuf, lab: String, host: &'static str },
}

impl Place {
    /// A command for the host.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Space(space) => space.command(program, Lifetime::Parent),
            Self::Lab { ipoib, lab, host } => {
                let mut command = Command::new(ipoib);
                command.args(["exec", "--lab", lab, host, "--"]).arg(program);
                command
            }
        }
    }
}

const fn row(
    name: &'static str,
    about: &'static str,
    start: fn(&mut World) -> Result<Option<Way>>,
) -> Subject {
    Subject { name, about, start }
}

/// All subjects. Everything is told as a ratio to the first.
pub(crate) const SUBJECTS: [Subject; 15] = [
    row("veth", "the kernel alone, with all offloads", |world| outside::veth(world, "veth", true)),
    row("veth-plain", "the kernel alone, without offloads", |world| outside::veth(world, "plain", false)),
    row("lab", "ipoib lab, two switches between the hosts", |world| lab(world, &[], ["h1", "h4"])),
    row("lab-near", "ipoib lab, both hosts at one switch", |world| lab(world, &[], ["h1", "h2"])),
    row("isolate", "ipoib lab --isolate: a process for the fabric and one for each host", |world| {
        lab(world, &["--isolate"], ["h1", "h4"])
    }),
    row("lab-spin", "ipoib lab --spin 20us", |world| lab(world, &["--spin", "20us"], ["h1", "h4"])),
    row("udp", "two labs, joined by a UDP link between their switches", joined),
    row("thr", "copier: a thread for each direction", |world| world.copier("thr", Design::Thr)),
    row("ep1", "copier: one thread with epoll", |world| world.copier("ep1", Design::Ep1)),
    row("spin", "copier: ep1, polls 20 us before it sleeps", |world| world.copier("spin", Design::Spin)),
    row("gro", "copier: ep1, merges small UDP datagrams", |world| world.copier("gro", Design::Gro)),
    row("shm2", "copier: three processes, rings in shared memory between them", World::rings),
    row("wg-go", "wireguard-go over veth", |world| outside::wireguard(world, "wireguard-go", &["-f"])),
    row("boringtun", "boringtun over veth", |world| {
        outside::wireguard(world, "boringtun-cli", &["-f", "--disable-drop-privileges"])
    }),
    row("vde", "vde_switch and two vde_plug2tap", outside::vde),
];

/// Two labs whose only switches are joined by UDP over the loopback interface.
fn joined(world: &mut World) -> Result<Option<Way>> {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    let [a, b] = sockets.map(|socket| socket.and_then(|socket| socket.local_addr()));
    let (a, b) = (a?, b?);
    let mut ends = Vec::new();
    let mut processes = Vec::new();
    // The first has the manager, which brings the second up through the link.
    for (fabric, local, peer, sm) in [(1, a, b, "embedded"), (2, b, a, "none")] {
        let topology = world.dir.join(format!("udp-{fabric}.toml"));
        let text = format!(
            "fabric = {fabric}\nswitch = [{{ name = \"sw1\", ports = 8, hosts = 1 }}]\n\
             link = [{{ a = \"sw1:7\", udp = {{ local = \"{local}\", peer = \"{peer}\" }} }}]\n"
        );
        fs::write(&topology, text).with_context(|| topology.display().to_string())?;
        let (lab, process) = world.lab(&["--topology", &topology.display().to_string(), "--sm", sm])?;
        ends.push(Place::Lab { ipoib: world.ipoib.clone(), lab, host: "h1" });
        processes.push(process);
    }
    let ends = ends.try_into().expect("two labs");
    Ok(Some(Way { ends, server: Ipv4Addr::new(10, 77, 2, 1), processes }))
}

/// A lab with these options; one for all who ask for the same.
fn lab(world: &mut World, options: &[&str], [client, server]: [&'static str; 2]) -> Result<Option<Way>> {
    let (lab, process) = world.lab(options)?;
    let number: u8 = server.trim_start_matches('h').parse().context("a host's name")?;
    let ipoib = world.ipoib.clone();
    let place = |host| Place::Lab { ipoib: ipoib.clone(), lab: lab.clone(), host };
    Ok(Some(Way {
        ends: [place(client), place(server)],
        server: Ipv4Addr::new(10, 77, 0, number),
        processes: vec![process],
    }))
}

//! Answers to what clients of the control socket ask.

use std::{fs::File, os::fd::OwnedFd, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use ib_fabric::{
    LinkId,
    topology::{Endpoint, Topology, UdpEnds},
};
use ib_lab::ManagerConfig;
use ib_sm::sa::Manner;
use ib_wire::addr::PortNum;

use super::{Running, hosts};
use crate::{
    capture::CaptureStatus,
    control::{CaptureFilter, Entry, Environment, HostFault, LabInfo, LinkFault, Reply, Request, SmFault},
    os::{clock, space::HostSpace},
};

impl Running {
    /// Carries out one request. True if it asks for the end of the lab.
    pub(super) fn answer(&mut self, request: Request) -> bool {
        match request {
            Request::Show { noun, host, reply } => match host {
                Some(host) if self.topology.find(&host).is_none() => {
                    let _ = reply.send(Err(no_host(Some(host)).to_string()));
                }
                host => self.show(noun, host, reply),
            },
            Request::FaultLink { link, fault, reply } => {
                let _ = reply.send(self.fault_link(&link, fault).map_err(sentence));
            }
            Request::FaultHost { host, fault, reply } => {
                let _ = reply.send(self.fault_host(&host, fault).map_err(sentence));
            }
            Request::FaultSm { node, fault, reply } => {
                let _ = reply.send(self.fault_sm(node.as_deref(), fault).map_err(sentence));
            }
            Request::Inject { port, packet, reply } => {
                let _ = reply.send(self.inject(&port, &packet).map_err(sentence));
            }
            Request::Enter { host, reply } => self.enter(&host, reply),
            Request::Capture { filter, to, reply } => {
                let _ = reply.send(self.capture(&filter, to.into()).map_err(sentence));
            }
            Request::Bind { port, ends, idle, reply } => {
                let _ = reply.send(self.bind(&port, ends, idle).map_err(sentence));
            }
            Request::Unbind { port, reply } => {
                let _ = reply.send(self.unbind(&port).map_err(sentence));
            }
            Request::Sweep { reply } => {
                let manager = self.runtime.lab.managers().iter().position(|m| m.sm.is_some());
                let done = manager.ok_or_else(|| "no subnet manager of ours runs in this lab".to_owned());
                let _ = reply.send(done.map(|i| self.runtime.with_lab(|lab, now| lab.sweep(now, i))));
            }
            Request::StartSm { node, priority, reply } => {
                let _ = reply.send(self.start_manager(node.as_deref(), priority).map_err(sentence));
            }
            Request::KillSm { node, reply } => {
                let _ = reply.send(self.kill_manager(node.as_deref()).map_err(sentence));
            }
            Request::Stop { reply } => {
                let _ = reply.send(Ok(()));
                return true;
            }
            Request::Info { reply } => {
                let _ = reply.send(Ok(self.info()));
            }
        }
        false
    }

    fn fault_link(&mut self, name: &str, fault: LinkFault) -> Result<()> {
        let (_, link) = self.link(name)?;
        let mut model = self.runtime.lab.fabric().link_fault(link);
        match fault {
            LinkFault::Down => model.down = true,
            LinkFault::Up => model.down = false,
            LinkFault::Share(mishap, share) => model.shares.set(mishap, share),
            LinkFault::Delay(time) => model.delay = time,
            LinkFault::Clear => model = ib_fabric::LinkFault::NONE,
        }
        self.runtime
            .with_lab(|lab, now| lab.with_fabric(now, |fabric| fabric.set_link_fault(now, link, model)));
        Ok(())
    }

    /// The port of this name and the link at it.
    fn link(&self, name: &str) -> Result<(Endpoint, LinkId)> {
        let end = self.port(name)?;
        let node = &self.topology[end.node].name;
        let link = self.runtime.lab.fabric().link(node, end.port);
        Ok((end, link.with_context(|| format!("{name} has no cable"))?))
    }

    fn port(&self, name: &str) -> Result<Endpoint> {
        self.topology.find_port(name).with_context(|| format!("no port {name}: write it as sw1:3"))
    }

    fn fault_sm(&mut self, node: Option<&str>, fault: SmFault) -> Result<()> {
        let manager = self.manager(node)?;
        let manner = match fault {
            SmFault::Busy => Manner::Busy,
            SmFault::NoRecords => Manner::NoRecords,
            SmFault::Slow(time) => Manner::Slow(time),
            SmFault::Clear => Manner::Prompt,
        };
        self.runtime.with_lab(|lab, now| lab.with_manager(now, manager, |sm| sm.set_manner(manner)));
        Ok(())
    }

    fn inject(&mut self, name: &str, packet: &[u8]) -> Result<()> {
        let end = self.port(name)?;
        if end.port == PortNum::MANAGEMENT {
            let node = &self.topology[end.node].name;
            let port = self.runtime.lab.fabric().end_port(node, end.port).context("no such port")?;
            self.runtime.with_lab(|lab, now| lab.with_fabric(now, |fabric| fabric.inject(now, port, packet)));
            return Ok(());
        }
        let (end, link) = self.link(name)?;
        let from_a = self.topology.links.iter().any(|plan| plan.b == end);
        self.runtime.with_lab(|lab, now| {
            lab.with_fabric(now, |fabric| fabric.inject_on_link(now, link, from_a, packet));
        });
        Ok(())
    }

    /// Binds a port to a UDP socket.
    fn bind(&mut self, name: &str, ends: UdpEnds, idle: Option<Duration>) -> Result<()> {
        let port = self.port(name)?;
        self.runtime.bind((&self.topology, port), ends, idle)
    }

    fn unbind(&mut self, name: &str) -> Result<()> {
        let port = self.port(name)?;
        self.runtime.unbind(&self.topology.port_name(port))
    }

    fn fault_host(&mut self, host: &str, fault: HostFault) -> Result<()> {
        let node = self.runtime.lab.fabric().node(host).ok_or_else(|| no_host(Some(host.to_owned())))?;
        let on = fault == HostFault::Plug;
        self.runtime.with_lab(|lab, now| lab.with_fabric(now, |fabric| fabric.set_node_power(now, node, on)));
        Ok(())
    }

    /// Starts a manager of ours, on the first switch if no place is named.
    pub(super) fn start_manager(&mut self, node: Option<&str>, priority: Option<u8>) -> Result<()> {
        let place = node.map(|name| {
            let found = self.topology.find(name).with_context(|| format!("no switch or host {name}"))?;
            let port = if self.topology[found].is_switch() { 0 } else { 1 };
            anyhow::Ok((name.to_owned(), PortNum(port)))
        });
        let mut config = ManagerConfig { place: place.transpose()?, ..self.manager.clone() };
        config.sm.priority = priority.unwrap_or(config.sm.priority);
        if config.sm.priority > 15 {
            bail!("priority {}: 0 to 15", config.sm.priority);
        }
        let seed = self.seed;
        self.runtime.with_lab(|lab, now| lab.start_manager(now, config, seed))?;
        Ok(())
    }

    fn kill_manager(&mut self, node: Option<&str>) -> Result<()> {
        let manager = self.manager(node)?;
        self.runtime.with_lab(|lab, now| lab.kill_manager(now, manager));
        Ok(())
    }

    /// Our manager at this node, or the only one.
    fn manager(&self, node: Option<&str>) -> Result<usize> {
        let managers = self.runtime.lab.managers().iter().enumerate().filter(|(_, m)| m.sm.is_some());
        let found: Vec<usize> =
            managers.filter(|(_, m)| node.is_none_or(|node| m.node == node)).map(|(i, _)| i).collect();
        match found[..] {
            [manager] => Ok(manager),
            [] => bail!(
                "no subnet manager of ours runs {}",
                node.map_or_else(|| "in this lab".to_owned(), |n| format!("at {n}"))
            ),
            _ => bail!("{} subnet managers of ours run: name the node of one", found.len()),
        }
    }

    /// Answers at once for a host, and for a switch when its space has been made.
    fn enter(&mut self, node: &str, reply: Reply<Entry>) {
        let parts = match self.way_in(node) {
            Ok(parts) => parts,
            Err(error) => return drop(reply.send(Err(sentence(error)))),
        };
        let answer = move |space: Result<HostSpace>| {
            // A client that has gone away no longer cares.
            let _ = reply.send(space.and_then(|space| entry(&space, parts)).map_err(sentence));
        };
        if let Some(space) = self.runtime.spaces.iter().find(|space| space.name() == node) {
            return answer(Ok(space.clone()));
        }
        let Self { runtime, switches, dir, ground, .. } = self;
        let first = || {
            let spec = hosts::spec(dir.path(), ground, node)?;
            let files = runtime.sysfs.add(runtime.lab.fabric(), node);
            runtime.sysfs.flush(runtime.lab.fabric());
            Ok((spec, files))
        };
        switches.enter(node, first, answer);
    }

    /// All of the way into a node but its space.
    fn way_in(&self, node: &str) -> Result<(Environment, Option<OwnedFd>)> {
        self.topology.find(node).ok_or_else(|| no_node(&self.topology, node))?;
        let user = self.privilege.user_namespace().map(|fd| fd.try_clone_to_owned()).transpose()?;
        Ok((self.environment(node)?, user))
    }

    fn capture(&mut self, filter: &CaptureFilter, to: File) -> Result<CaptureStatus> {
        let runtime = &mut self.runtime;
        runtime.captures.start(&mut runtime.lab, &self.topology, filter, to, clock::now())
    }

    fn info(&self) -> LabInfo {
        let counts = self.topology.counts();
        LabInfo {
            name: self.name.clone(),
            pid: std::process::id(),
            hosts: counts.hosts as u64,
            switches: counts.switches as u64,
            links: counts.links as u64,
            state: if self.is_up { "up" } else { "starting" }.to_owned(),
            uptime_seconds: (clock::now() - self.started).as_secs(),
            seed: self.seed,
        }
    }
}

fn entry(space: &HostSpace, (environment, user): (Environment, Option<OwnedFd>)) -> Result<Entry> {
    let fds = space.fds();
    Ok(Entry {
        user,
        net: fds.net.try_clone_to_owned()?,
        mnt: fds.mnt.try_clone_to_owned()?,
        uts: fds.uts.try_clone_to_owned()?,
        environment,
        cwd: PathBuf::from("/"),
    })
}

/// Says what there is, as far as anybody would read.
fn no_node(topology: &Topology, node: &str) -> anyhow::Error {
    let names: Vec<_> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
    let (shown, more) = (names.len().min(MOST_NAMES), names.len().saturating_sub(MOST_NAMES));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    anyhow!("no host or switch {node}: choose one of {}{more}", names[..shown].join(", "))
}

/// Names in a message.
const MOST_NAMES: usize = 24;

fn no_host(host: Option<String>) -> anyhow::Error {
    anyhow!("no host {}: `ipoib show hosts` lists them", host.unwrap_or_default())
}

fn sentence(error: anyhow::Error) -> String {
    format!("{error:#}")
}

//! Interfaces without a fabric: a driver whose port is elsewhere.
//!
//! `Driver` is to a port in another process what [`Lab`](crate::Lab) is to its own: it takes what the port tells
//! ([`PortNotice`](crate::PortNotice)), and puts out what interfaces ask of it.

use alloc::{collections::VecDeque, vec::Vec};

use ib_wire::{
    mad::Mad,
    offload::Offload,
    payload::Payload,
    time::Instant,
    ud::{MadAddress, PortEvent, PortView, UdReceived},
};
use ipoib_proto::{Config, ConfigError, HostEvent, Interface};

use crate::{InterfaceId, PortRequest, ToHost, seat::Sorted, timers::Timers};

/// The interfaces of one port: the parent first, then its children.
#[derive(Debug)]
pub struct Driver {
    interfaces: Vec<Interface>,
    timers: Timers,
    out: VecDeque<DriverOutput>,
}

/// What the caller is to do.
#[derive(Clone, Debug)]
pub enum DriverOutput {
    /// For the host of an interface.
    Host {
        /// Which.
        interface: InterfaceId,
        /// What.
        what: ToHost,
    },
    /// For the port.
    Port {
        /// Whose wish it is.
        interface: InterfaceId,
        /// What.
        request: PortRequest,
    },
}

impl Driver {
    /// Interfaces on the port seen as `view`, one for each configuration, all administratively down.
    pub fn new(configs: Vec<Config>, view: &PortView, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        let mut driver = Self { interfaces: Vec::new(), timers: Timers::default(), out: VecDeque::new() };
        for config in configs {
            let id = InterfaceId(driver.interfaces.len());
            driver.interfaces.push(Interface::new(config, view, id.seed(seed), now)?);
            driver.run(id);
        }
        Ok(driver)
    }

    /// The host set an interface up or down.
    pub fn handle_admin(&mut self, now: Instant, id: InterfaceId, up: bool) {
        self.interfaces[id.0].handle_admin(now, up);
        self.run(id);
    }

    /// The host sends a frame, from the Ethernet header on; offsets in `offload` count from the IP header.
    pub fn handle_host_frame(&mut self, now: Instant, id: InterfaceId, frame: Payload, offload: Offload) {
        self.interfaces[id.0].handle_host_frame(now, frame, offload);
        self.run(id);
    }

    /// Something changed in the host's network stack.
    pub fn handle_host(&mut self, now: Instant, id: InterfaceId, event: HostEvent) {
        self.interfaces[id.0].handle_host(now, event);
        self.run(id);
    }

    /// A queue pair received a datagram.
    pub fn handle_datagram(&mut self, now: Instant, id: InterfaceId, datagram: UdReceived) {
        self.interfaces[id.0].handle_datagram(now, datagram);
        self.run(id);
    }

    /// An agent received a MAD.
    pub fn handle_mad(&mut self, now: Instant, id: InterfaceId, from: MadAddress, mad: &Mad) {
        self.interfaces[id.0].handle_mad(now, from, mad);
        self.run(id);
    }

    /// The port changed and is now as in `view`.
    pub fn handle_port(&mut self, now: Instant, event: PortEvent, view: &PortView) {
        for i in 0..self.interfaces.len() {
            self.interfaces[i].handle_port(now, event, view);
            self.run(InterfaceId(i));
        }
    }

    /// Lets everybody work whose time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(i) = self.timers.expire(now) {
            self.interfaces[i].handle_timeout(now);
            self.run(InterfaceId(i));
        }
    }

    /// What the caller is to do.
    pub fn poll_output(&mut self) -> Option<DriverOutput> {
        self.out.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.peek()
    }

    /// The interfaces, in the order of their configurations.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    fn run(&mut self, id: InterfaceId) {
        let engine = &mut self.interfaces[id.0];
        while let Some(output) = engine.poll_output() {
            self.out.push_back(match output.into() {
                Sorted::Host(what) => DriverOutput::Host { interface: id, what },
                Sorted::Port(request) => DriverOutput::Port { interface: id, request },
            });
        }
        self.timers.set(id.0, engine.poll_timeout());
    }
}

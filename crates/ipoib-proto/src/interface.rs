//! The interface: state and order; each concern is a type of its own.

use core::net::Ipv6Addr;

use ib_wire::{
    addr::{HwAddr, Mac},
    mad::Mad,
    offload::Offload,
    payload::Payload,
    time::Instant,
    ud::{MadAddress, PortEvent, PortView, UdReceived},
};

use crate::{CarrierReason, Config, ConfigError, HostEvent, Output, Snapshot};

/// One IPoIB interface.
#[derive(Debug)]
pub struct Interface {
    config: Config,
    now: Instant,
}

impl Interface {
    /// An interface on the port seen as `port`, down until `handle_admin`. `seed` makes its chances.
    pub fn new(config: Config, port: &PortView, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        let _ = (port, seed);
        Ok(Self { config, now })
    }

    /// The host set the interface up or down.
    pub fn handle_admin(&mut self, now: Instant, up: bool) {
        let _ = (now, up);
    }

    /// The host sends `frame`, Ethernet header first; the offsets of `offload` count from the IP header.
    pub fn handle_host_frame(&mut self, now: Instant, frame: Payload, offload: Offload) {
        let _ = (now, frame, offload);
    }

    /// The queue pair received `datagram`.
    pub fn handle_datagram(&mut self, now: Instant, datagram: UdReceived) {
        let _ = (now, datagram);
    }

    /// QP1 received `mad` from `from`: an answer or a report of subnet administration.
    pub fn handle_mad(&mut self, now: Instant, from: MadAddress, mad: &Mad) {
        let _ = (now, from, mad);
    }

    /// Something happened to the port, which is now as in `view`.
    pub fn handle_port(&mut self, now: Instant, event: PortEvent, view: &PortView) {
        let _ = (now, event, view);
    }

    /// Something happened in the host's network stack.
    pub fn handle_host(&mut self, now: Instant, event: HostEvent) {
        let _ = (now, event);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
    }

    /// What to do next; `None` when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Our address on the link; its GID follows the port's prefix.
    pub fn hw_addr(&self) -> HwAddr {
        HwAddr::default()
    }

    /// Our Ethernet address, kept for life.
    pub fn mac(&self) -> Mac {
        Mac::ZERO
    }

    /// The IPv6 link-local address that the host should have.
    pub fn link_local(&self) -> Ipv6Addr {
        ib_wire::ipoib::link_local(self.config.guid)
    }

    /// Whether traffic passes, or what is missing.
    pub fn carrier(&self) -> CarrierReason {
        CarrierReason::AdminDown
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What it shows of itself.
    pub fn snapshot(&self) -> Snapshot {
        unreachable!("not written yet")
    }
}

//! Links that come up and go down, and what their ports, switches and software notice.

use ib_wire::{time::Instant, ud::PortEvent};

use crate::{
    counters::Counter,
    fabric::{Fabric, Later, Work},
    id::{LinkId, NodeId},
    link::LinkFault,
    port::{Logical, Physical},
    switch::Switch,
};

impl Fabric {
    /// Changes what a link does to packets; `down` unplugs it at both ends, and plugs it in again.
    pub fn set_link_fault(&mut self, now: Instant, link: LinkId, fault: LinkFault) {
        let index = link.index();
        self.links[index].set_fault(fault);
        self.express.forget();
        if fault.down && self.links[index].up {
            self.count_downed(index);
        }
        self.retry(now, index);
        self.run(now);
    }

    /// Switches a node off or on. What an SM wrote to it is lost; software at its ports stays.
    pub fn set_node_power(&mut self, now: Instant, node: NodeId, on: bool) {
        let index = node.index();
        if self.nodes[index].power == on {
            return;
        }
        self.nodes[index].power = on;
        self.express.forget();
        for port in self.nodes[index].ports.clone() {
            if let Some(cable) = self.ports[port].cable {
                if !on && self.links[cable.link].up {
                    self.count_downed(cable.link);
                }
                self.retry(now, cable.link);
            }
        }
        if !on {
            self.forget(index);
        }
        self.run(now);
    }

    /// Lets a link look for both its ends, if they look for each other.
    pub(crate) fn train(&mut self, now: Instant, link: usize) {
        if self.links[link].up || !self.may_be_up(link) {
            return;
        }
        if self.links[link].outside.as_ref().is_some_and(|outside| !outside.alive) {
            self.work.push_back(Work::Ask(link));
            return;
        }
        if self.config.training.is_zero() {
            self.come_up(now, link);
        } else {
            let epoch = self.links[link].epoch;
            self.agenda.put(now + self.config.training, Later::Trained { link, epoch });
        }
    }

    /// A link's training time is over.
    pub(crate) fn trained(&mut self, now: Instant, link: usize, epoch: u32) {
        let same = self.links[link].epoch == epoch && !self.links[link].up;
        if same && self.may_be_up(link) {
            self.come_up(now, link);
        }
    }

    /// An SM asked for the port to go down and begin anew.
    pub(crate) fn retrain(&mut self, now: Instant, port: usize) {
        if let Some(cable) = self.ports[port].cable {
            self.take_down(now, cable.link, Some(port));
            self.train(now, cable.link);
        }
    }

    /// An SM changed what the port does with its cable.
    pub(crate) fn set_physical(&mut self, now: Instant, port: usize, to: Physical) {
        self.ports[port].physical = to;
        let Some(cable) = self.ports[port].cable else { return };
        self.take_down(now, cable.link, Some(port));
        self.ports[port].physical = to;
        self.train(now, cable.link);
    }

    /// Takes a link down that may not be up, and lets one train that may.
    fn retry(&mut self, now: Instant, link: usize) {
        if self.may_be_up(link) {
            self.train(now, link);
        } else {
            self.take_down(now, link, None);
        }
    }

    pub(crate) fn may_be_up(&self, link: usize) -> bool {
        let Self { links, ports, nodes, .. } = self;
        let end_is_willing = |at: usize| {
            let port = &ports[at];
            self.is_plugged(at, link)
                && nodes[port.node].power
                && matches!(port.physical, Physical::Polling | Physical::LinkUp)
        };
        !links[link].fault.down && links[link].ports().all(end_is_willing)
    }

    fn come_up(&mut self, now: Instant, link: usize) {
        self.links[link].up = true;
        self.express.forget();
        let ends = self.links[link].ends;
        for (port, peer) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let peer_info = self.ports[peer].info;
            let port_ = &mut self.ports[port];
            port_.negotiate(&peer_info);
            (port_.physical, port_.state) = (Physical::LinkUp, Logical::Initialize);
        }
        for port in self.links[link].ports() {
            self.state_changed(now, port);
        }
        self.outside_changed(link);
    }

    /// Both ends lose the link. A switch whose own SM asked for it at `asked` is not surprised.
    pub(crate) fn take_down(&mut self, now: Instant, link: usize, asked: Option<usize>) {
        let was_up = self.links[link].up;
        self.links[link].went_down();
        self.express.forget();
        if let Some(outside) = &mut self.links[link].outside {
            outside.alive = false;
        }
        if was_up {
            self.outside_changed(link);
        }
        for port in self.links[link].ports() {
            if !self.is_plugged(port, link) {
                continue;
            }
            let state = core::mem::replace(&mut self.ports[port].state, Logical::Down);
            if self.ports[port].physical == Physical::LinkUp {
                self.ports[port].physical = Physical::Polling;
            }
            if state == Logical::Down {
                continue;
            }
            if state == Logical::Active
                && let Some(end) = self.ports[port].end
            {
                self.tell(end, PortEvent::Down);
            }
            if asked != Some(port) {
                self.state_changed(now, port);
            }
        }
    }

    /// A switch notes that a port of its changed, and tells its SM.
    fn state_changed(&mut self, now: Instant, port: usize) {
        if let Some(switch) = self.ports[port].switch {
            self.switches[switch].info.port_state_change = true;
            self.raise_link_state(now, self.ports[port].node);
        }
    }

    pub(crate) fn count_downed(&mut self, link: usize) {
        for port in self.links[link].ports() {
            self.ports[port].counters.add(Counter::LinkDowned, 1);
        }
    }

    /// A node without power forgets what it was told.
    fn forget(&mut self, node: usize) {
        let Self { nodes, ports, ends, switches, config, .. } = self;
        let node = &nodes[node];
        if let Some(switch) = node.switch {
            let external = node.info.num_ports;
            let enhanced = switches[switch].info.enhanced_port0;
            switches[switch] = Switch::new(config, external, enhanced);
        }
        for port in &mut ports[node.ports.clone()] {
            port.reset(config);
            if port.physical != Physical::LinkUp {
                port.physical = Physical::Polling;
            }
        }
        for end in &mut ends[node.ends.clone()] {
            end.reset();
            end.qps.refresh(&ports[end.port].pkeys);
        }
        let lost = [PortEvent::LidChange, PortEvent::SmChange, PortEvent::GidChange, PortEvent::PKeyChange];
        for end in node.ends.clone() {
            for event in lost {
                self.tell(end, event);
            }
        }
    }
}

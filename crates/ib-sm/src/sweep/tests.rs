//! Walks over fabrics that answer from a script.

use ib_wire::{
    addr::{Guid, PortNum, SubnetPrefix},
    mad::attr::{NodeInfo, NodeType, PhysicalState, PortInfo, PortState, SwitchInfo},
};

use super::{
    discover::{Thoroughness, Walk},
    job::{Job, Work},
};
use crate::{
    output::Warning,
    subnet::{PortId, Subnet},
};

const SWITCH: u64 = 0x51;

/// What is behind the ports of one switch; the manager is behind port 1.
struct Script {
    subnet: Subnet,
    work: Work,
    walk: Walk,
    hosts: [u64; 3],
}

impl Script {
    fn new(hosts: [u64; 3]) -> Self {
        let walk = Walk::new(1, Thoroughness::Full);
        Self { subnet: Subnet::new(SubnetPrefix::LINK_LOCAL), work: Work::default(), walk, hosts }
    }

    /// Walks to the end; ports of the switch for which `silent` holds have nobody behind them.
    fn walk(&mut self, thoroughness: Thoroughness, silent: impl Fn(PortNum) -> bool) -> usize {
        self.walk = Walk::new(self.walk.number + 1, thoroughness);
        self.work.push(Job::Node(None));
        let mut asked = 0;
        while let Some(job) = self.work.take() {
            asked += 1;
            match self.answer(job, &silent) {
                Some(data) => self.walk.handle_answer(&mut self.subnet, &mut self.work, job, &data),
                None => {
                    self.walk.handle_silence(&mut self.subnet, job);
                }
            }
            self.work.done(job);
        }
        assert!(self.work.is_done());
        self.walk.finish(&mut self.subnet);
        asked
    }

    fn answer(&self, job: Job, silent: &impl Fn(PortNum) -> bool) -> Option<[u8; 64]> {
        let mut data = [0; 64];
        let is_switch = |id: PortId| self.subnet.node(id.node).is_switch();
        match job {
            Job::Node(None) => data[..40].copy_from_slice(&node_info(self.hosts[0], NodeType::CA, 1)),
            Job::Node(Some(by)) if is_switch(by) => {
                let guid = self.hosts[usize::from(by.num.0) - 1];
                if silent(by.num) {
                    return None;
                }
                data[..40].copy_from_slice(&node_info(guid, NodeType::CA, 1));
            }
            Job::Node(Some(_)) => data[..40].copy_from_slice(&node_info(SWITCH, NodeType::SWITCH, 1)),
            Job::Switch(_) => {
                data[..20].copy_from_slice(&SwitchInfo::from_bytes(&[0; 20]).to_bytes());
            }
            Job::Port(_) => {
                let mut info = PortInfo::from_bytes(&[0; 64]);
                (info.state, info.physical_state) = (PortState::ACTIVE, PhysicalState::LINK_UP);
                data = info.to_bytes();
            }
            _ => (),
        }
        Some(data)
    }
}

fn node_info(guid: u64, node_type: NodeType, local_port: u8) -> [u8; 40] {
    let mut info = NodeInfo::from_bytes(&[0; 40]);
    (info.node_guid, info.port_guid) = (Guid(guid), Guid(guid + 1));
    (info.node_type, info.local_port) = (node_type, PortNum(local_port));
    info.num_ports = if node_type == NodeType::SWITCH { 3 } else { 1 };
    info.to_bytes()
}

#[test]
fn two_nodes_with_one_guid_are_told_of_and_the_later_is_left_out() {
    let mut script = Script::new([0x10, 0x20, 0x20]);
    script.walk(Thoroughness::Full, |_| false);
    assert_eq!(script.subnet.nodes().count(), 3);
    let [Warning::DuplicateGuid { guid: Guid(0x20), behind }] = &script.walk.warnings[..] else {
        panic!("{:?}", script.walk.warnings)
    };
    assert_eq!((behind.guid, behind.port), (Guid(SWITCH), PortNum(3)));
    let host = script.subnet.end_port_by_guid(Guid(0x21)).unwrap();
    assert_eq!(script.subnet.port(host).unwrap().peer.unwrap().num, PortNum(2));
}

#[test]
fn a_quick_walk_believes_a_switch_without_change() {
    let mut script = Script::new([0x10, 0x20, 0x30]);
    let full = script.walk(Thoroughness::Full, |_| false);
    for id in [0, 1, 2, 3].map(crate::subnet::NodeId) {
        script.subnet.node_mut(id).dirty = false;
    }
    let quick = script.walk(Thoroughness::Quick, |_| panic!("nobody behind the switch is asked"));
    assert_eq!(script.subnet.nodes().count(), 4);
    assert!(quick < full / 2, "{quick} and {full}");
}

#[test]
fn a_host_whose_link_stays_active_is_kept_though_it_is_silent_once() {
    let mut script = Script::new([0x10, 0x20, 0x30]);
    script.walk(Thoroughness::Full, |port| port == PortNum(3));
    assert_eq!(script.subnet.nodes().count(), 3, "nobody knew it before");
    assert_eq!(script.walk.silenced.len(), 1);
    let mut script = Script::new([0x10, 0x20, 0x30]);
    script.walk(Thoroughness::Full, |_| false);
    script.walk(Thoroughness::Full, |port| port == PortNum(3));
    assert_eq!(script.subnet.nodes().count(), 4);
}

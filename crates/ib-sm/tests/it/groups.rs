//! What the administration promises, the switches do: groups and partitions.

use ib_fabric::{AgentId, AgentSpec, PortId};
use ib_sm::{SmConfig, SmEvent, partition::Partitions};
use ib_wire::{
    addr::{PKey, PortNum, QKey, Qpn, Rate, Scope, ServiceLevel},
    ipoib::mgid::broadcast_mgid,
    mad::{
        Mad, MadHeader, Method, MgmtClass,
        attr::{JoinState, McMemberRecord, Record},
        sa::{RmppHeader, SaMad, mc_member_mask as mask},
    },
    offload::Offload,
    packet::GlobalRoute,
    payload::Payload,
    ud::{AddressVector, MadAddress, QpCommand, UdSend},
};

use crate::bench::{Bench, SECOND};

/// A queue pair at a host's port, and an agent that asks the administration.
struct Host {
    port: PortId,
    qpn: Qpn,
    agent: AgentId,
}

impl Host {
    fn new(bench: &mut Bench, name: &str) -> Self {
        let port = bench.fabric.end_port(name, PortNum(1)).unwrap();
        let spec = AgentSpec::client(MgmtClass::SUBN_ADM);
        let agent = bench.fabric.register_agent(port, spec).unwrap();
        let qpn = bench.fabric.create_qp(port, None).unwrap();
        let keys = QpCommand::SetKeys { pkey: PKey::DEFAULT_FULL, qkey: QKey(0xb1b) };
        bench.fabric.command_qp(port, qpn, keys).unwrap();
        Self { port, qpn, agent }
    }

    /// Joins or leaves the broadcast group; the group's record.
    fn ask(&self, bench: &mut Bench, method: Method) -> McMemberRecord {
        let view = bench.fabric.port_view(self.port);
        let mut record = McMemberRecord::from_bytes(&[0; McMemberRecord::LEN]);
        record.mgid = broadcast_mgid(Scope::LINK_LOCAL, PKey::DEFAULT_FULL).gid();
        record.port_gid = view.gid();
        record.pkey = PKey::DEFAULT_FULL;
        record.join_state = JoinState::FULL;
        let mut data = [0; SaMad::DATA_LEN];
        data[..McMemberRecord::LEN].copy_from_slice(&record.to_bytes());
        let mad = SaMad {
            header: MadHeader::request(MgmtClass::SUBN_ADM, method, McMemberRecord::ID.into(), 0),
            rmpp: RmppHeader::NONE,
            sm_key: 0,
            attribute_offset: 0,
            component_mask: mask::MGID | mask::PORT_GID | mask::P_KEY | mask::JOIN_STATE,
            data,
        };
        let to = MadAddress::gsi(view.sm_lid, view.sm_sl);
        bench.fabric.send_mad(bench.now, self.port, self.agent, to, &mad.to_bytes()).unwrap();
        let answer = bench.answer(self.agent).expect("the administration answers");
        McMemberRecord::read(&SaMad::from_bytes(&answer).data).unwrap()
    }

    fn join(&self, bench: &mut Bench) -> McMemberRecord {
        let record = self.ask(bench, Method::SET);
        let mgid = record.mgid.multicast().unwrap();
        bench.fabric.command_qp(self.port, self.qpn, QpCommand::Attach { mgid, mlid: record.mlid }).unwrap();
        record
    }

    fn send(&self, bench: &mut Bench, group: &McMemberRecord) {
        let view = bench.fabric.port_view(self.port);
        let global =
            GlobalRoute { sgid: view.gid(), dgid: group.mgid, traffic_class: 0, flow_label: 0, hop_limit: 0 };
        let to = AddressVector {
            dlid: group.mlid,
            sl: ServiceLevel::new(0),
            rate: Rate::GBPS_10,
            global: Some(global),
        };
        let payload = Payload::with_headroom(64, b"hello");
        let send =
            UdSend { to, dest_qp: Qpn::MULTICAST, qkey: QKey(0xb1b), payload, offload: Offload::default() };
        bench.fabric.post_send(bench.now, self.port, self.qpn, send).unwrap();
        bench.settle();
    }
}

#[test]
fn a_group_reaches_all_members_once_from_the_moment_they_have_joined() {
    for plan in ["pair", "fat-tree:k=4", "ring:7,hosts=3"] {
        let mut bench = Bench::new(plan);
        bench.manager("h1", SmConfig::default());
        bench.run(SECOND);
        let names: Vec<String> = bench.plan.hosts().map(|(_, node)| node.name.clone()).collect();
        let hosts: Vec<Host> = names.iter().map(|name| Host::new(&mut bench, name)).collect();
        let (members, others) = hosts.split_at(hosts.len() * 3 / 4);
        let mut group = None;
        for (i, host) in members.iter().enumerate() {
            group = Some(host.join(&mut bench));
            bench.received.clear();
            host.send(&mut bench, group.as_ref().unwrap());
            let mut got: Vec<PortId> = bench.received.drain(..).filter(|port| *port != host.port).collect();
            got.sort_unstable();
            let mut want: Vec<PortId> = members[..i].iter().map(|member| member.port).collect();
            want.sort_unstable();
            assert_eq!(got, want, "{plan}");
        }
        // One leaves: it hears nothing any more.
        members[1].ask(&mut bench, Method::DELETE);
        bench.received.clear();
        members[0].send(&mut bench, &group.unwrap());
        assert!(!bench.received.contains(&members[1].port));
        assert!(others.iter().all(|host| !bench.received.contains(&host.port)));
    }
}

#[test]
fn groups_follow_a_changed_tree() {
    let mut bench = Bench::new("fat-tree:k=4");
    bench.manager("h1", SmConfig::default());
    bench.run(SECOND);
    let hosts: Vec<Host> = (1..=16).map(|i| Host::new(&mut bench, &format!("h{i}"))).collect();
    let groups: Vec<McMemberRecord> = hosts.iter().map(|host| host.join(&mut bench)).collect();
    let isls: Vec<(String, u8)> = (bench.plan.links.iter())
        .filter(|link| bench.plan[link.a.node].is_switch() && bench.plan[link.b.node].is_switch())
        .map(|link| (bench.plan[link.a.node].name.clone(), link.a.port.0))
        .collect();
    for (node, port) in isls {
        for down in [true, false] {
            bench.set_link(&node, port, down);
            bench.run(SECOND);
            bench.received.clear();
            hosts[3].send(&mut bench, &groups[0]);
            let got = bench.received.iter().filter(|port| **port != hosts[3].port).count();
            assert_eq!(got, 15, "{node}:{port} {down}");
        }
    }
}

#[test]
fn partitions_are_written_to_hosts_and_to_the_switch_ports_that_guard_them() {
    let mut bench = Bench::new("pair");
    bench.manager("h1", SmConfig::default());
    bench.run(SECOND);
    let keys = |bench: &Bench, host: &str| -> Vec<u16> {
        let view = bench.fabric.port_view(bench.fabric.end_port(host, PortNum(1)).unwrap());
        view.pkeys.iter().filter(|key| key.is_valid()).map(|key| key.0).collect()
    };
    assert_eq!(keys(&bench, "h2"), [0xffff]);
    let h2 = bench.fabric.port_view(bench.fabric.end_port("h2", PortNum(1)).unwrap()).guid;
    let text = format!("Default=0x7fff,ipoib:ALL=full; Blue=0x1001: {:#x}=full; Red=0x1002: ALL;", h2.0);
    let now = bench.now;
    bench.sm(0).set_partitions(now, Partitions::parse("test", &text).unwrap());
    bench.run(SECOND);
    assert_eq!(keys(&bench, "h2"), [0xffff, 0x9001, 0x1002]);
    assert_eq!(keys(&bench, "h3"), [0xffff, 0x1002]);
    let text = "Default=0x7fff,ipoib:ALL=full; Red=0x1002: ALL=full;";
    let now = bench.now;
    bench.sm(0).set_partitions(now, Partitions::parse("test", text).unwrap());
    bench.run(SECOND);
    // Red stays where it was.
    let view = bench.fabric.port_view(bench.fabric.end_port("h2", PortNum(1)).unwrap());
    assert_eq!(view.pkeys[..3], [PKey(0xffff), PKey::INVALID, PKey(0x9002)]);
    assert_eq!(bench.count(|event| matches!(event, SmEvent::Warning(_))), 0, "{:?}", bench.events);
    let subnet = bench.sm(0).subnet();
    let end = subnet.end_port_by_guid(h2).unwrap();
    let guard = subnet.port(subnet.switch_port(end).unwrap()).unwrap();
    assert_eq!(guard.pkeys[..3], [PKey(0xffff), PKey::INVALID, PKey(0x9002)]);
    assert!(guard.info.unwrap().partition_enforcement_inbound);
}

/// For the answers that agents wait for.
impl Bench {
    fn answer(&mut self, agent: AgentId) -> Option<Mad> {
        self.settle();
        let at = self.answers.iter().position(|(to, _)| *to == agent)?;
        Some(self.answers.remove(at).1)
    }
}

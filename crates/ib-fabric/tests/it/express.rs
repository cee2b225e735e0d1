//! Ways that are clear are gone in one step: nobody can tell, whatever changes between one packet and the next.

use std::time::Duration;

use ib_fabric::{Drop, LinkFault, TapFilter, topology};
use ib_wire::{
    addr::{Mtu, PKey, QKey, Qpn, Rate, ServiceLevel},
    mad::attr::PortState,
    offload::{Checksum, Offload, SegmentKind, Segments},
    ud::{AddressVector, QpCommand, UdSend},
};
use proptest::prelude::*;

use crate::world::{QKEY, World};

const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];
const NODES: [&str; 6] = ["h1", "h2", "h3", "h4", "sw1", "sw2"];
const PARTITION: u16 = 0x8001;

/// Something that happens to the subnet.
#[derive(Clone, Debug)]
enum Step {
    Send { from: usize, to: usize, len: usize, sl: u8, wrong: u8, large: bool },
    Fault { link: usize, kind: u8 },
    Power { node: usize, on: bool },
    Port { node: usize, port: u8, kind: u8 },
    Keys { host: usize, other: bool },
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let send = || {
        (0..4usize, 0..4usize, 0..4200usize, 0..16u8, 0..12u8, any::<bool>())
            .prop_map(|(from, to, len, sl, wrong, large)| Step::Send { from, to, len, sl, wrong, large })
    };
    prop_oneof![
        6 => send(),
        1 => (0..5usize, 0..5u8).prop_map(|(link, kind)| Step::Fault { link, kind }),
        1 => (1..6usize, any::<bool>()).prop_map(|(node, on)| Step::Power { node, on }),
        2 => (0..6usize, 0..9u8, 0..8u8).prop_map(|(node, port, kind)| Step::Port { node, port, kind }),
        1 => (0..4usize, any::<bool>()).prop_map(|(host, other)| Step::Keys { host, other }),
        1 => (0..30u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// A subnet and the queue pairs of its hosts.
struct Scene {
    world: World,
    qps: [Qpn; 4],
}

impl Scene {
    /// If somebody looks at all links, every packet goes step by step.
    fn new(watched: bool) -> Self {
        let mut world = World::up(&topology::generate("pair").expect("a generator"));
        if watched {
            world.fabric.add_tap(TapFilter::All);
        }
        for host in HOSTS {
            world.set_pkeys(host, 0, &[0xffff, PARTITION]);
        }
        let qps = HOSTS.map(|host| world.qp(host, PARTITION));
        Self { world, qps }
    }

    /// Does it, and tells all that can be seen of it.
    fn play(&mut self, step: &Step) -> String {
        let world = &mut self.world;
        let mut told = String::new();
        match *step {
            Step::Send { from, to, len, sl, wrong, large } => {
                let to_qp = if wrong == 1 { Qpn::new(0x33) } else { self.qps[to] };
                let segments = Segments { kind: SegmentKind::Tcp4, size: 600, header: 40, ecn: false };
                let send = UdSend {
                    to: AddressVector {
                        dlid: world.lid(HOSTS[to]),
                        sl: ServiceLevel::new(sl),
                        rate: Rate::GBPS_10,
                        global: None,
                    },
                    dest_qp: to_qp,
                    qkey: if wrong == 2 { QKey(1) } else { QKEY },
                    payload: vec![7; len][..].into(),
                    offload: Offload {
                        checksum: Checksum::Partial { start: 20, offset: 16 },
                        segments: large.then_some(segments),
                    },
                };
                told = format!(
                    "{:?}",
                    world.fabric.post_send(world.now, world.port(HOSTS[from]), self.qps[from], send)
                );
            }
            Step::Fault { link, kind } => {
                let link = world.fabric.links().nth(link).expect("five links");
                let fault = match kind {
                    0 => LinkFault { down: true, ..LinkFault::NONE },
                    1 => LinkFault { delay: Duration::from_millis(3), ..LinkFault::NONE },
                    _ => LinkFault::NONE,
                };
                world.fabric.set_link_fault(world.now, link, fault);
            }
            Step::Power { node, on } => world.fabric.set_node_power(world.now, world.node(NODES[node]), on),
            Step::Port { node, port, kind } => self.edit(NODES[node], port, kind),
            Step::Keys { host, other } => {
                let (port, qpn) = (world.port(HOSTS[host]), self.qps[host]);
                let pkey = PKey(if other { 0xffff } else { PARTITION });
                told = format!(
                    "{:?}",
                    world.fabric.command_qp(port, qpn, QpCommand::SetKeys { pkey, qkey: QKEY })
                );
            }
            Step::Pass { millis } => world.pass(millis),
        }
        let world = &mut self.world;
        world.drain();
        let received: Vec<_> = world.received.drain(..).map(|datagram| format!("{datagram:?}")).collect();
        format!("{told} {received:?} {:?}", world.events.drain(..).collect::<Vec<_>>())
    }

    /// A subnet manager changes something at a port, if it reaches it.
    fn edit(&mut self, node: &str, port: u8, kind: u8) {
        let world = &mut self.world;
        let route = world.nodes[node].route;
        let reaches = |world: &mut World| {
            let get = ib_wire::mad::Method::GET;
            let ask = ib_wire::mad::AttributeId::PORT_INFO;
            let answer = world.directed(&route, get, ask, port.into(), [0; 64]);
            answer.is_some_and(|(status, _)| status == ib_wire::mad::Status::OK)
        };
        if !reaches(world) {
            return;
        }
        world.edit_port(node, port, |info| match kind {
            0 => info.neighbor_mtu = Mtu::B1024,
            1 => info.neighbor_mtu = Mtu::B4096,
            2 => info.partition_enforcement_inbound = true,
            3 => info.partition_enforcement_outbound = true,
            4 => info.partition_enforcement_inbound = false,
            5 => info.operational_vls = 1,
            6 => info.state = PortState::ARMED,
            _ => info.state = PortState::ACTIVE,
        });
    }

    fn all(&self) -> serde_json::Value {
        serde_json::to_value(self.world.fabric.snapshot()).expect("plain data")
    }
}

proptest! {
    #[test]
    fn nobody_can_tell_whether_a_packet_went_in_one_step(steps in prop::collection::vec(step(), 1..60)) {
        let mut scenes = [Scene::new(false), Scene::new(true)];
        for step in &steps {
            let [plain, watched] = scenes.each_mut().map(|scene| scene.play(step));
            prop_assert_eq!(plain, watched, "{:?}", step);
        }
        let [plain, watched] = scenes.each_ref().map(Scene::all);
        prop_assert_eq!(plain, watched);
        prop_assert!(scenes[0].world.tapped.is_empty());
    }
}

#[test]
fn most_packets_of_a_quiet_subnet_arrive() {
    let mut scene = Scene::new(false);
    let send = Step::Send { from: 0, to: 3, len: 100, sl: 0, wrong: 0, large: false };
    assert!((0..3).all(|_| scene.play(&send).contains("Payload(100 bytes)")));
}

#[test]
fn what_a_manager_changes_holds_for_the_next_packet() {
    let mut scene = Scene::new(false);
    let send = Step::Send { from: 0, to: 3, len: 2000, sl: 0, wrong: 0, large: false };
    assert!(scene.play(&send).contains("Payload(2000 bytes)"));
    for port in 1..9 {
        scene.play(&Step::Port { node: 4, port, kind: 0 });
    }
    assert!(!scene.play(&send).contains("Payload"));
    assert_eq!(scene.world.dropped(Drop::NeighborMtu), 1);
}

#[test]
fn a_way_is_clear_again_when_the_last_slow_packet_is_out() {
    let mut scene = Scene::new(false);
    let send = Step::Send { from: 0, to: 3, len: 100, sl: 0, wrong: 0, large: false };
    for kind in [1, 2] {
        (0..5).for_each(|link| drop(scene.play(&Step::Fault { link, kind })));
        assert!(!scene.play(&send).contains("Payload"), "it waits, or waits behind it");
    }
    assert_eq!(scene.play(&Step::Pass { millis: 30 }).matches("Payload").count(), 2);
    assert!(scene.play(&send).contains("Payload"));
}

//! Programs that speak MADs: what they send is answered or comes back, and messages are whole.

use std::time::Duration;

use ib_fabric::{
    AgentId, AgentSpec, Drop, LinkFault, MethodMask,
    topology::{self, Mishap},
};
use ib_lab::{Incoming, LabConfig, Outgoing, ProgramError, ProgramSpec, Simulation};
use ib_wire::{
    addr::{Lid, PortNum, ServiceLevel, Tid},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        sa::{RecordId, RmppFlags, RmppHeader, RmppType, SaMad},
    },
    ud::MadAddress,
};

const TIMEOUT: Duration = Duration::from_millis(200);
const CLIENT: ProgramSpec = ProgramSpec { agent: AgentSpec::client(MgmtClass::SUBN_ADM), rmpp: true };

fn lab(spec: &str) -> Simulation {
    let mut simulation = Simulation::new(LabConfig::new(topology::generate(spec).unwrap())).unwrap();
    let all = simulation.lab().interfaces().len();
    assert!(simulation.run_until(Duration::from_secs(60), |s| s.up() == all));
    simulation
}

fn open(simulation: &mut Simulation, node: &str, spec: ProgramSpec) -> AgentId {
    simulation.with_lab(|lab, _| {
        let port = lab.fabric().end_port(node, PortNum(1)).unwrap();
        lab.open_agent(port, spec).unwrap()
    })
}

fn view(simulation: &Simulation, node: &str) -> ib_wire::ud::PortView {
    let fabric = simulation.lab().fabric();
    fabric.port_view(fabric.end_port(node, PortNum(1)).unwrap())
}

fn send(simulation: &mut Simulation, agent: AgentId, to: MadAddress, mad: &[u8]) -> Result<(), ProgramError> {
    let outgoing = Outgoing { to, timeout: Some(TIMEOUT), retries: 2, mad: mad.to_vec() };
    simulation.with_lab(|lab, now| lab.send_for_program(now, agent, outgoing))
}

fn sa(simulation: &Simulation, node: &str) -> MadAddress {
    MadAddress::gsi(view(simulation, node).sm_lid, ServiceLevel::default())
}

fn question(method: Method, attribute: AttributeId, tid: u64) -> SaMad {
    let mut header = MadHeader::request(MgmtClass::SUBN_ADM, method, attribute, 0);
    header.tid = Tid(tid);
    SaMad {
        header,
        rmpp: RmppHeader::NONE,
        sm_key: 0,
        attribute_offset: 0,
        component_mask: 0,
        data: [0; SaMad::DATA_LEN],
    }
}

fn header(incoming: &Incoming) -> MadHeader {
    MadHeader::parse(&incoming.mad).unwrap().0
}

#[test]
fn a_request_is_answered_once_and_to_its_agent() {
    let mut simulation = lab("star:2");
    let (first, second) = (open(&mut simulation, "h1", CLIENT), open(&mut simulation, "h1", CLIENT));
    let to = sa(&simulation, "h1");
    let ask = question(Method::GET, AttributeId::CLASS_PORT_INFO, 0xdead_beef_0000_0007);
    send(&mut simulation, second, to, &ask.to_bytes()).unwrap();
    simulation.run_for(Duration::from_secs(5));
    let answer = simulation.poll_program().expect("an answer");
    assert_eq!((answer.agent, answer.timed_out, answer.from.lid), (second, false, to.lid));
    assert_eq!(header(&answer).method, Method::GET_RESP);
    assert_eq!(
        header(&answer).tid,
        Tid(u64::from(second.number()) << 32 | 7),
        "the low half is the program's"
    );
    assert_eq!(simulation.poll_program(), None);
    let counters = |agent| simulation.lab().agent_counters(agent).unwrap();
    assert_eq!((counters(second).sent, counters(second).received), (1, 1));
    assert_eq!(counters(first), ib_lab::AgentCounters::default());
}

#[test]
fn a_request_without_answer_comes_back_after_all_its_tries() {
    let mut simulation = lab("star:2");
    let agent = open(&mut simulation, "h1", CLIENT);
    let nobody = MadAddress::gsi(Lid(0xb000), ServiceLevel::default());
    let ask = question(Method::GET, AttributeId::CLASS_PORT_INFO, 7);
    let start = simulation.now();
    send(&mut simulation, agent, nobody, &ask.to_bytes()).unwrap();
    let lost = |simulation: &Simulation| simulation.lab().fabric().dropped(Drop::NoRoute);
    assert_eq!(lost(&simulation), 1);
    simulation.run_for(3 * TIMEOUT - Duration::from_nanos(1));
    assert_eq!(simulation.poll_program(), None, "it is not over yet");
    simulation.run_for(Duration::from_nanos(1));
    let back = simulation.poll_program().expect("the request");
    assert_eq!((back.agent, back.timed_out, back.from), (agent, true, nobody));
    assert_eq!(back.mad.len(), MadHeader::LEN);
    assert_eq!((header(&back).method, header(&back).tid.0 & 0xffff_ffff), (Method::GET, 7));
    assert_eq!(lost(&simulation), 3, "once and two retries");
    assert_eq!(simulation.now(), start + 3 * TIMEOUT);
    simulation.run_for(Duration::from_secs(10));
    assert_eq!(simulation.poll_program(), None);
    let counters = simulation.lab().agent_counters(agent).unwrap();
    assert_eq!((counters.resent, counters.timed_out), (2, 1));
}

#[test]
fn a_table_is_one_message_whatever_the_wire_loses() {
    let mut simulation = lab("star:100");
    let agent = open(&mut simulation, "h1", CLIENT);
    simulation.with_lab(|lab, now| {
        lab.with_fabric(now, |fabric| {
            let link = fabric.link("h1", PortNum(1)).unwrap();
            let fault = LinkFault::of(Mishap::Loss, "20%".parse().unwrap());
            fabric.set_link_fault(now, link, fault);
        });
    });
    let to = sa(&simulation, "h1");
    let ask = question(Method::GET_TABLE, RecordId::NODE.into(), 9);
    let outgoing =
        Outgoing { to, timeout: Some(Duration::from_secs(1)), retries: 9, mad: ask.to_bytes().to_vec() };
    simulation.with_lab(|lab, now| lab.send_for_program(now, agent, outgoing)).unwrap();
    simulation.run_for(Duration::from_secs(60));
    let table = simulation.poll_program().expect("a table");
    assert!(!table.timed_out);
    let head = SaMad::parse(&table.mad[..256]).unwrap().0;
    assert_eq!((head.header.method, head.header.status), (Method::GET_TABLE_RESP, Status::OK));
    let record = usize::from(head.attribute_offset) * 8;
    assert_eq!((table.mad.len() - 56) / record, 101, "100 hosts and a switch");
    assert_eq!(simulation.poll_program(), None, "it is one message");
}

#[test]
fn two_programs_ask_and_serve_each_other() {
    let mut simulation = lab("star:2");
    let class = MgmtClass(0x32);
    let spec = |methods| AgentSpec { vendor: Some([0, 0x14, 0x05]), ..AgentSpec::new(class, methods) };
    let server = ProgramSpec { agent: spec(MethodMask::of(&[Method::GET])), rmpp: false };
    let client = ProgramSpec { agent: spec(MethodMask::NONE), rmpp: false };
    let (server, client) = (open(&mut simulation, "h2", server), open(&mut simulation, "h1", client));
    let to = MadAddress::gsi(view(&simulation, "h2").lid, ServiceLevel::default());
    let mut ping = [0; 256];
    let ask = MadHeader { tid: Tid(1), ..MadHeader::request(class, Method::GET, AttributeId(0), 0) };
    ping[..24].copy_from_slice(&ask.to_bytes());
    ping[37..40].copy_from_slice(&[0, 0x14, 0x05]);
    send(&mut simulation, client, to, &ping).unwrap();
    let question = simulation.poll_program().expect("the server is asked");
    assert_eq!((question.agent, &question.mad[24..]), (server, &ping[24..]));
    let mut pong = question.mad.to_vec();
    pong[3] = Method::GET_RESP.0;
    let outgoing = Outgoing { to: question.from, timeout: None, retries: 0, mad: pong.clone() };
    simulation.with_lab(|lab, now| lab.send_for_program(now, server, outgoing.clone())).unwrap();
    let answer = simulation.poll_program().expect("the client is answered");
    assert_eq!((answer.agent, &answer.mad[24..]), (client, &ping[24..]));
    // Once more: nobody waits for it now.
    simulation.with_lab(|lab, now| lab.send_for_program(now, server, outgoing)).unwrap();
    assert_eq!(simulation.poll_program(), None);
    assert_eq!(simulation.lab().agent_counters(client).unwrap().unexpected, 1);
    // Another vendor's is for nobody: it is refused by the port, not by the program.
    ping[39] = 6;
    send(&mut simulation, client, to, &ping).unwrap();
    let refused = simulation.poll_program().expect("the port answers");
    assert_eq!(header(&refused).status, Status::BAD_METHOD_ATTRIBUTE);
}

#[test]
fn an_agent_that_is_gone_hears_nothing_and_sends_nothing() {
    let mut simulation = lab("star:2");
    let agent = open(&mut simulation, "h1", CLIENT);
    let to = sa(&simulation, "h1");
    let nobody = MadAddress::gsi(Lid(0xb000), ServiceLevel::default());
    let ask = question(Method::GET, AttributeId::CLASS_PORT_INFO, 1).to_bytes();
    send(&mut simulation, agent, nobody, &ask).unwrap();
    simulation.with_lab(|lab, _| lab.close_agent(agent));
    simulation.run_for(Duration::from_secs(5));
    assert_eq!(simulation.poll_program(), None);
    assert_eq!(send(&mut simulation, agent, to, &ask), Err(ProgramError::NoAgent(agent)));
    assert_eq!(simulation.lab().agent_counters(agent), None);
    let again = open(&mut simulation, "h1", CLIENT);
    assert_ne!(again, agent, "its number is not used again: an old answer could reach it");
}

#[test]
fn what_is_no_mad_is_refused() {
    let mut simulation = lab("star:2");
    let agent = open(&mut simulation, "h1", CLIENT);
    let to = sa(&simulation, "h1");
    assert_eq!(send(&mut simulation, agent, to, &[1; 23]), Err(ProgramError::Short(23)));
    let ask = question(Method::GET, AttributeId::CLASS_PORT_INFO, 1);
    let mut long = ask.to_bytes().to_vec();
    long.resize(400, 0);
    assert_eq!(send(&mut simulation, agent, to, &long), Err(ProgramError::Long(400)));
    simulation.run_for(Duration::from_secs(5));
    assert_eq!(simulation.poll_program(), None, "the program was told at once");
}

#[test]
fn a_server_s_long_answer_is_cut_and_arrives_whole() {
    let mut simulation = lab("star:3");
    // An SA of a program's on h2: not the subnet's, but one that can be asked.
    let agent = AgentSpec::new(MgmtClass::SUBN_ADM, MethodMask::of(&[Method::GET_TABLE]));
    let server = open(&mut simulation, "h2", ProgramSpec { agent, rmpp: true });
    let client = open(&mut simulation, "h3", CLIENT);
    let to = MadAddress::gsi(view(&simulation, "h2").lid, ServiceLevel::default());
    let ask = question(Method::GET_TABLE, RecordId::PATH.into(), 5);
    send(&mut simulation, client, to, &ask.to_bytes()).unwrap();
    let asked = simulation.poll_program().expect("the question");
    assert_eq!(asked.agent, server);
    let mut answer = asked.mad[..56].to_vec();
    answer[3] = Method::GET_TABLE_RESP.0;
    // As OpenSM does it: the flag alone says that this is a message.
    let active = RmppHeader { flags: RmppFlags::ACTIVE, ..RmppHeader::NONE };
    answer[24..36].copy_from_slice(&active.to_bytes());
    answer.extend((0..64 * 1000_u32).map(|i| u8::try_from(i % 251).unwrap()));
    let outgoing = Outgoing { to: asked.from, timeout: None, retries: 0, mad: answer.clone() };
    simulation.with_lab(|lab, now| lab.send_for_program(now, server, outgoing)).unwrap();
    simulation.run_for(Duration::from_secs(1));
    let got = simulation.poll_program().expect("the answer");
    assert_eq!((got.agent, got.mad.len()), (client, answer.len()));
    assert!(got.mad[56..] == answer[56..]);
    assert_eq!(got.mad[25], RmppType::DATA.0);
    assert_eq!(simulation.poll_program(), None);
}

#[test]
fn what_the_port_cannot_send_is_told_at_once_and_only_once() {
    let mut simulation = lab("star:2");
    let agent = open(&mut simulation, "h1", CLIENT);
    let nowhere = MadAddress::gsi(Lid(0), ServiceLevel::default());
    let ask = question(Method::GET, AttributeId::CLASS_PORT_INFO, 1).to_bytes();
    let refused = send(&mut simulation, agent, nowhere, &ask);
    assert!(matches!(refused, Err(ProgramError::Port(_))), "{refused:?}");
    simulation.run_for(Duration::from_secs(5));
    assert_eq!(simulation.poll_program(), None);
}

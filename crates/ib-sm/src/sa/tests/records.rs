use super::*;

#[test]
fn every_node_is_shown_once_for_each_port() {
    let mut s = Script::new(4);
    let nodes: Vec<NodeRecord> = s.table(2, 0, 0, &[]).unwrap();
    assert_eq!(nodes.len(), 5);
    let of_3 = nodes.iter().find(|n| n.lid == Lid(3)).unwrap();
    assert_eq!((of_3.node_info.port_guid, of_3.node_info.local_port), (Guid(0x103), PortNum(1)));
    let switch = nodes.iter().find(|n| n.lid == Lid(SWITCH_LID)).unwrap();
    assert_eq!(switch.description.text(), "sw1");
}

#[test]
fn five_hundred_nodes_come_whole() {
    let mut s = Script::new(500);
    let nodes: Vec<NodeRecord> = s.table(2, 0, 0, &[]).unwrap();
    let mut lids: Vec<_> = nodes.iter().map(|n| n.lid.0).collect();
    lids.sort_unstable();
    assert!(lids.into_iter().eq((1..=500).chain([SWITCH_LID])));
    assert!(nodes.len() * 112 / 200 > 4 * 64, "several windows of segments");
    assert_eq!(s.sa.counters().count(RecordId::NODE, Method::GET_TABLE, Status::OK), 1);
    assert_eq!(s.sa.poll_timeout(), None);
}

#[test]
fn a_component_chooses_and_a_get_is_for_one() {
    let mut s = Script::new(4);
    let mut asked = NodeRecord::from_bytes(&[0; 108]);
    asked.lid = Lid(3);
    asked.node_info.port_guid = Guid(0x104);
    asked.node_info.node_type = NodeType::SWITCH;
    let bytes = asked.to_bytes();
    assert_eq!(s.ask::<NodeRecord>(2, Method::GET, 1, &bytes).unwrap().lid, Lid(3));
    assert_eq!(s.ask::<NodeRecord>(2, Method::GET, 1 << 8, &bytes).unwrap().lid, Lid(4));
    assert_eq!(s.ask::<NodeRecord>(2, Method::GET, 1 << 4, &bytes).unwrap().lid, Lid(SWITCH_LID));
    assert_eq!(s.ask::<NodeRecord>(2, Method::GET, 1 | 1 << 8, &bytes), Err(Status::SA_NO_RECORDS));
    assert_eq!(s.ask::<NodeRecord>(2, Method::GET, 0, &bytes), Err(Status::SA_TOO_MANY));
    assert_eq!(s.table::<NodeRecord>(2, 0, 1 | 1 << 8, &bytes), Ok(vec![]));
}

#[test]
fn ports_of_a_switch_stand_under_its_lid_and_keys_stay_hidden() {
    let mut s = Script::new(3);
    let mut asked = PortInfoRecord::from_bytes(&[0; 68]);
    asked.end_port_lid = Lid(SWITCH_LID);
    let ports: Vec<PortInfoRecord> = s.table(2, 0, 1, &asked.to_bytes()).unwrap();
    assert_eq!(ports.iter().map(|p| p.port.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(ports.iter().all(|p| p.port_info.m_key == MKey(0)));
    asked.port = PortNum(2);
    let one: PortInfoRecord = s.ask_trusted(2, Method::GET, 0b11, &asked.to_bytes()).unwrap();
    assert_eq!((one.port, one.port_info.m_key), (PortNum(2), MKey(0x77)));
    asked.port_info.mtu_cap = Mtu::B4096;
    assert_eq!(s.table::<PortInfoRecord>(2, 0, 1 << 31, &asked.to_bytes()).unwrap().len(), 7);
}

#[test]
fn ports_are_found_by_what_they_can_do() {
    let mut s = Script::new(3);
    let caps = CapabilityMask::IS_SM.and(CapabilityMask::SL_MAPPING);
    s.port_mut(3).info.as_mut().unwrap().capability_mask = caps;
    let mut asked = PortInfoRecord::from_bytes(&[0; 68]);
    asked.port_info.capability_mask = CapabilityMask::IS_SM;
    assert_eq!(s.table::<PortInfoRecord>(2, 0, 1 << 7, &asked.to_bytes()), Ok(vec![]), "not equal");
    asked.options = 0x80;
    let found = s.table::<PortInfoRecord>(2, 0, 1 << 7 | 1 << 2, &asked.to_bytes()).unwrap();
    assert_eq!(found.iter().map(|p| p.end_port_lid).collect::<Vec<_>>(), [Lid(3)]);
}

#[test]
fn switches_and_their_tables_are_shown() {
    let mut s = Script::new(3);
    assert_eq!(s.table::<SwitchInfoRecord>(2, 0, 0, &[]).unwrap().len(), 1);
    let mut asked = LinearForwardingRecord::from_bytes(&[0; 72]);
    let blocks: Vec<LinearForwardingRecord> = s.table(2, 0, 0, &[]).unwrap();
    assert_eq!(blocks.len(), 16);
    assert_eq!(blocks[0].ports.0[2], PortNum(2));
    asked.block = 15;
    let one: LinearForwardingRecord = s.ask(2, Method::GET, 0b10, &asked.to_bytes()).unwrap();
    assert_eq!(one.ports.0[1000 - 15 * 64], PortNum(0));
    let switch = s.switch;
    let mut mask = crate::subnet::PortMask::default();
    mask.insert(PortNum(2));
    s.subnet.switch_mut(switch).unwrap().mft.want(MulticastLid::try_from(0xc001).unwrap(), mask);
    let one: MulticastForwardingRecord = s.ask(2, Method::GET, 0, &[]).unwrap();
    assert_eq!((one.masks.0[1], one.lid), (4, Lid(SWITCH_LID)));
}

#[test]
fn links_are_shown_in_both_directions() {
    let mut s = Script::new(3);
    let links: Vec<LinkRecord> = s.table(2, 0, 0, &[]).unwrap();
    assert_eq!(links.len(), 6);
    let link = |from, port, to_port, to| LinkRecord {
        from_lid: Lid(from),
        from_port: PortNum(port),
        to_port: PortNum(to_port),
        to_lid: Lid(to),
    };
    assert!(links.contains(&link(3, 1, 3, SWITCH_LID)) && links.contains(&link(SWITCH_LID, 3, 1, 3)));
}

#[test]
fn partition_tables_are_for_the_trusted() {
    let mut s = Script::new(3);
    assert_eq!(s.ask::<PKeyTableRecord>(2, Method::GET, 0, &[]), Err(Status::SA_INVALID));
    let tables: Vec<PKeyTableRecord> = s.table(2, SM_KEY, 0, &[]).unwrap();
    assert_eq!(tables.len(), 4);
    assert!(tables.iter().all(|t| t.keys.0[0] == PKey(0xffff) && t.keys.0[1] == PKey::INVALID));
}

#[test]
fn managers_guids_and_what_nobody_read() {
    let mut s = Script::new(3);
    let sm_info = SmInfo { guid: Guid(0x101), sm_key: 9, act_count: 7, priority: 3, state: SmState::MASTER };
    s.sa.set_managers(vec![(Lid(1), sm_info)]);
    let one: SmInfoRecord = s.ask(2, Method::GET, 0, &[]).unwrap();
    assert_eq!((one.lid, one.sm_info.sm_key, one.sm_info.act_count), (Lid(1), 0, 7));
    assert_eq!(s.ask_trusted::<SmInfoRecord>(2, Method::GET, 0, &[]).unwrap().sm_info.sm_key, 9);
    assert_eq!(s.table::<GuidInfoRecord>(2, 0, 0, &[]).unwrap().len(), 4);
    assert_eq!(s.table::<SlToVlRecord>(2, 0, 0, &[]), Ok(vec![]));
    assert_eq!(s.ask::<VlArbitrationRecord>(2, Method::GET, 0, &[]), Err(Status::SA_NO_RECORDS));
}

#[test]
fn nobody_learns_of_ports_outside_his_partitions() {
    let file = "Default=0x7fff:SELF=full;Blue=0x10:0x102=full,0x103;";
    let mut s = Script::with(4, SaConfig::default(), Partitions::parse("p", file).unwrap());
    let seen = |s: &mut Script, host| {
        let nodes: Vec<NodeRecord> = s.table(host, 0, 0, &[]).unwrap();
        nodes.iter().map(|n| n.lid.0).collect::<Vec<_>>()
    };
    assert_eq!(seen(&mut s, 4), [SWITCH_LID, 1, 4]);
    assert_eq!(seen(&mut s, 3), [SWITCH_LID, 1, 2, 3]);
    assert_eq!(seen(&mut s, 1), [SWITCH_LID, 1, 2, 3, 4]);
}

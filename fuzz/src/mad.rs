//! Management datagrams: both forms of SMP, SA, PMA, their attributes and records, and transfers by RMPP
//! between ourselves and a peer that is anything from lossy to hostile.

use std::{collections::VecDeque, time::Duration};

use arbitrary::{Result, Unstructured};
use ib_wire::{
    addr::PortNum,
    mad::{
        AttributeId, MAD_LEN, MadHeader, Method, MgmtClass, attr,
        pma::{self, PmaMad},
        rmpp::{Receiver, RmppConfig, RmppError, Sender},
        sa::{RmppFlags, RmppHeader, RmppStatus, RmppType, SaMad},
        smp::{DirectedRoute, DirectedSmp, LidSmp, Smp},
    },
    time::Instant,
};

/// The first byte says which part gets the others.
pub fn check(bytes: &[u8]) {
    let Some((part, bytes)) = bytes.split_first() else { return };
    let mut input = Unstructured::new(bytes);
    // Running out of bytes only ends a scenario.
    let _ = match part % 6 {
        0 => {
            mad(bytes);
            Ok(())
        }
        1 => {
            attributes(bytes);
            Ok(())
        }
        2 => {
            records(bytes);
            Ok(())
        }
        3 => hostile_sender(&mut input),
        4 => hostile_receiver(&mut input),
        _ => lossy_link(&mut input),
    };
}

/// A format is read from the front of the bytes, written and read again.
macro_rules! formats {
    ($bytes:expr; $($format:ty),* $(,)?) => {$(
        match <$format>::parse($bytes) {
            Ok((value, rest)) => {
                assert_eq!(rest.len() + <$format>::LEN, $bytes.len());
                let written = value.to_bytes();
                assert_eq!(<$format>::from_bytes(&written), value);
                assert_eq!(<$format>::from_bytes(&written).to_bytes(), written);
                let _ = format!("{value:?}");
            }
            Err(short) => {
                assert_eq!((short.need, short.have), (<$format>::LEN, $bytes.len()));
                assert!(short.have < short.need);
            }
        }
    )*};
}

fn mad(bytes: &[u8]) {
    formats!(bytes; MadHeader, RmppHeader, LidSmp, DirectedSmp, SaMad, PmaMad);
    let Ok(smp) = Smp::parse(bytes) else { return };
    assert_eq!(Smp::parse(&smp.to_bytes()), Ok(smp));
    assert_eq!(smp.header(), &MadHeader::parse(bytes).expect("an SMP begins with it").0);
    assert_eq!(smp.data(), &bytes[64..128]);
    if let Smp::Directed(mut smp) = smp {
        let (pointer, count) = (smp.hop_pointer(), smp.hop_count());
        assert!(usize::from(count) <= DirectedRoute::MAX_HOPS && pointer <= count + 1);
        let mut route = DirectedRoute::HERE;
        for port in &smp.initial_path[1..=usize::from(count)] {
            route = route.then(PortNum(*port)).expect("no longer than the SMP's");
        }
        assert_eq!(route.hop_count(), count);
        assert_eq!(route.initial_path()[1..=route.len()], smp.initial_path[1..=route.len()]);
        let (status, is_return) = (smp.status(), smp.is_return());
        smp.set_status(status, !is_return);
        assert_eq!((smp.status(), smp.is_return()), (status, !is_return));
    }
}

fn attributes(bytes: &[u8]) {
    use attr::*;
    formats!(bytes;
        NodeInfo, PortInfo, SwitchInfo, ClassPortInfo, Notice, InformInfo, SmInfo,
        LinkStateDetails, CapabilityDetails, BadMKeyDetails, BadKeyDetails, SwitchBadPKeyDetails,
        pma::PortCounters, pma::PortCountersExtended, pma::PortRcvErrorDetails, pma::PortXmitDiscardDetails,
    );
    if let Ok((info, _)) = PortInfo::parse(bytes) {
        let _ = (info.active_speed(), info.active_rate());
    }
    if let Ok((notice, _)) = Notice::parse(bytes) {
        let _ = (notice.gid(), notice.data_lid());
    }
    if let Some(block) = bytes.first_chunk::<64>() {
        let text = NodeDescription(*block).text();
        let again = NodeDescription::new(&text).text();
        assert!(text.starts_with(&again), "{text:?} {again:?}");
        assert_eq!(GuidBlock::from_bytes(block).to_bytes(), *block);
        assert_eq!(PKeyBlock::from_bytes(block).to_bytes(), *block);
        assert_eq!(LinearBlock::from_bytes(block).to_bytes(), *block);
        assert_eq!(MulticastBlock::from_bytes(block).to_bytes(), *block);
        let arbitration = VlArbitrationBlock::from_bytes(block);
        assert_eq!(VlArbitrationBlock::from_bytes(&arbitration.to_bytes()), arbitration);
    }
    if let Some(table) = bytes.first_chunk::<8>() {
        assert_eq!(SlToVlTable::from_bytes(table).to_bytes(), *table);
    }
}

fn records(bytes: &[u8]) {
    use attr::*;
    table::<NodeRecord>(bytes);
    table::<PortInfoRecord>(bytes);
    table::<SwitchInfoRecord>(bytes);
    table::<LinearForwardingRecord>(bytes);
    table::<MulticastForwardingRecord>(bytes);
    table::<SmInfoRecord>(bytes);
    table::<LinkRecord>(bytes);
    table::<GuidInfoRecord>(bytes);
    table::<PKeyTableRecord>(bytes);
    table::<SlToVlRecord>(bytes);
    table::<VlArbitrationRecord>(bytes);
    table::<InformInfoRecord>(bytes);
    table::<McMemberRecord>(bytes);
    table::<PathRecord>(bytes);
    table::<ServiceRecord>(bytes);
}

/// Reads a table of records, writes it and reads it again.
fn table<R: attr::Record + PartialEq + core::fmt::Debug>(bytes: &[u8]) {
    let distance = usize::from(R::OFFSET) * 8;
    let read = |bytes: &[u8]| bytes.chunks(distance).map_while(R::read).collect::<Vec<_>>();
    let records = read(bytes);
    let mut written = Vec::new();
    records.iter().for_each(|record| record.write(&mut written));
    assert_eq!(written.len(), records.len() * distance);
    assert_eq!(read(&written), records);
}

/// A receiver of ours against any segments at all.
fn hostile_sender(input: &mut Unstructured<'_>) -> Result<()> {
    let config = config(input)?;
    let mut now = Instant::ZERO;
    let mut receiver = Receiver::new(now, config);
    let mut next = 1;
    while !input.is_empty() {
        now += Duration::from_millis(input.int_in_range(0..=2000)?);
        receiver.handle_timeout(now);
        let mad = segment(input, &mut next)?;
        receiver.handle_mad(now, &mad);
        let said = std::iter::from_fn(|| receiver.poll_output()).take(8).inspect(spoken).count();
        assert!(said <= 1, "one packet in, at most one out");
        let kept = receiver.take_message().map(|message| message.records.len());
        assert!(kept.unwrap_or(0) <= config.max_bytes + SaMad::DATA_LEN);
        assert!(kept.is_none() || receiver.outcome() == Some(Ok(())));
        assert!(receiver.outcome().is_some() || receiver.poll_timeout() > Some(now));
    }
    now += Duration::from_secs(3600);
    receiver.handle_timeout(now);
    assert!(receiver.outcome().is_some());
    assert_eq!(receiver.poll_timeout(), None);
    Ok(())
}

/// A sender of ours against any acknowledgements at all.
fn hostile_receiver(input: &mut Unstructured<'_>) -> Result<()> {
    let config = config(input)?;
    let records = pattern(input.int_in_range(0..=3000)?);
    let segments = records.len().div_ceil(SaMad::DATA_LEN).max(1);
    let mut now = Instant::ZERO;
    let mut sender = Sender::new(now, config, template(), records);
    let mut next = 1;
    let ours = |sender: &mut Sender| {
        let said = std::iter::from_fn(|| sender.poll_output()).take(segments + 2).inspect(spoken).count();
        assert!(said <= segments, "no segment twice without a reason");
    };
    while !input.is_empty() {
        ours(&mut sender);
        now += Duration::from_millis(input.int_in_range(0..=300)?);
        sender.handle_timeout(now);
        ours(&mut sender);
        sender.handle_mad(now, &segment(input, &mut next)?);
        assert!(sender.outcome().is_some() || sender.poll_timeout().is_some());
    }
    for _ in 0..=config.retries {
        ours(&mut sender);
        now += Duration::from_secs(3600);
        sender.handle_timeout(now);
    }
    assert!(sender.outcome().is_some(), "a peer that says no more is given up");
    Ok(())
}

/// Both ends ours, and a link between them that loses, doubles and reorders for a while.
fn lossy_link(input: &mut Unstructured<'_>) -> Result<()> {
    const QUIET: u32 = 2000;
    const QUEUE: usize = 100;
    let config = RmppConfig { max_bytes: 4000, ..config(input)? };
    let records = pattern(input.int_in_range(0..=4000)?);
    let mut now = Instant::ZERO;
    let mut sender = Sender::new(now, config, template(), records.clone());
    let mut receiver = Receiver::new(now, config);
    let (mut there, mut back): (VecDeque<SaMad>, VecDeque<SaMad>) = Default::default();
    let mut arrived = None;
    let mut quiet = 0;
    while quiet < QUIET && sender.outcome().is_none() {
        there.extend(std::iter::from_fn(|| sender.poll_output()));
        back.extend(std::iter::from_fn(|| receiver.poll_output()));
        let fate = if input.is_empty() { 0 } else { input.int_in_range(0..=9)? };
        quiet += u32::from(input.is_empty());
        let (queue, to_receiver) = if there.is_empty() { (&mut back, false) } else { (&mut there, true) };
        match (fate, queue.pop_front()) {
            (_, None) => now += Duration::from_millis(100),
            (1, Some(_)) => {}
            (2, Some(mad)) => queue.push_back(mad),
            (fate, Some(mad)) => {
                if fate == 3 {
                    queue.push_back(mad);
                }
                if to_receiver { receiver.handle_mad(now, &mad) } else { sender.handle_mad(now, &mad) }
            }
        }
        if fate == 4 {
            now += Duration::from_millis(50);
        }
        sender.handle_timeout(now);
        receiver.handle_timeout(now);
        arrived = receiver.take_message().or(arrived);
        there.truncate(QUEUE);
        back.truncate(QUEUE);
    }
    if let Some(message) = &arrived {
        assert_eq!(message.records, records);
    }
    match sender.outcome() {
        Some(Ok(())) => assert!(arrived.is_some(), "acknowledged, but not there"),
        Some(Err(RmppError::Ours(RmppStatus::TOO_MANY_RETRIES) | RmppError::Peer(_))) => {}
        other => panic!("{other:?} between two of ours"),
    }
    Ok(())
}

fn config(input: &mut Unstructured<'_>) -> Result<RmppConfig> {
    Ok(RmppConfig {
        window: input.int_in_range(0..=9)?,
        retries: input.int_in_range(0..=7)?,
        max_bytes: input.int_in_range(0..=4000)?,
        ..RmppConfig::default()
    })
}

/// A packet of a peer: mostly something that could come next.
fn segment(input: &mut Unstructured<'_>, next: &mut u32) -> Result<SaMad> {
    let number = match input.int_in_range(0..=7)? {
        0 => input.arbitrary()?,
        1 => input.int_in_range(0..=20)?,
        _ => *next,
    };
    *next = number.wrapping_add(1);
    let first = if number == 1 { RmppFlags::FIRST } else { RmppFlags(0) };
    let rmpp = RmppHeader {
        version: if input.ratio(1, 50)? { input.arbitrary()? } else { 1 },
        kind: RmppType(if input.ratio(1, 4)? { input.int_in_range(0..=5)? } else { 1 }),
        response_time: 0,
        flags: RmppFlags(match input.int_in_range(0..=9)? {
            0 => input.int_in_range(0..=7)?,
            1 => first.0 | RmppFlags::ACTIVE.0 | RmppFlags::LAST.0,
            _ => first.0 | RmppFlags::ACTIVE.0,
        }),
        status: RmppStatus(if input.ratio(1, 50)? { input.arbitrary()? } else { 0 }),
        data1: number,
        data2: if input.ratio(1, 4)? { input.arbitrary()? } else { input.int_in_range(0..=2000)? },
    };
    Ok(SaMad { rmpp, ..template() })
}

/// What we say is well formed.
fn spoken(mad: &SaMad) {
    assert_eq!(mad.rmpp.version, 1);
    assert!(mad.rmpp.flags.has(RmppFlags::ACTIVE));
    assert!((RmppType::DATA.0..=RmppType::ABORT.0).contains(&mad.rmpp.kind.0));
    let bytes: [u8; MAD_LEN] = mad.to_bytes();
    assert_eq!(SaMad::from_bytes(&bytes), *mad);
}

fn template() -> SaMad {
    let attribute = AttributeId(0x35);
    SaMad {
        header: MadHeader::request(MgmtClass::SUBN_ADM, Method::GET_TABLE_RESP, attribute, 0),
        rmpp: RmppHeader::NONE,
        sm_key: 0,
        attribute_offset: 8,
        component_mask: 0,
        data: [0; SaMad::DATA_LEN],
    }
}

/// Bytes of which no two segments are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 200).to_le_bytes()[0]).collect()
}

use alloc::{vec, vec::Vec};
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    mad::{MadHeader, MgmtClass, sa::RecordId},
    time::Instant,
};

const START: Instant = Instant::from_secs(1);

fn template() -> SaMad {
    SaMad {
        header: MadHeader::request(MgmtClass::SUBN_ADM, Method::GET_TABLE_RESP, RecordId::NODE.into(), 0),
        rmpp: RmppHeader::NONE,
        sm_key: 0,
        attribute_offset: 14,
        component_mask: 0,
        data: [0; 200],
    }
}

fn records(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
}

fn segment(number: u32, flags: RmppFlags, length: u32) -> SaMad {
    let mut mad = template();
    let flags = flags.and(RmppFlags::ACTIVE);
    mad.rmpp =
        RmppHeader { version: 1, kind: RmppType::DATA, flags, data1: number, data2: length, ..mad.rmpp };
    mad
}

fn ack(segment: u32, window_last: u32) -> SaMad {
    control(&template(), true, RmppType::ACK, RmppStatus::NORMAL, segment, window_last)
}

fn drain(sender: &mut Sender) -> Vec<SaMad> {
    core::iter::from_fn(|| sender.poll_output()).collect()
}

/// Carries everything to and fro; `fate` decides for each MAD: 0 lost, 1 doubled, 2 delayed, else delivered.
fn carry(sender: &mut Sender, receiver: &mut Receiver, mut fate: impl FnMut() -> u8) -> Option<Message> {
    let mut now = START;
    let mut to_receiver: Vec<SaMad> = Vec::new();
    let mut to_sender: Vec<SaMad> = Vec::new();
    let mut message = None;
    for _ in 0..10_000 {
        let mut quiet = true;
        while let Some(mad) = sender.poll_output() {
            quiet = false;
            post(&mut to_receiver, mad, fate());
        }
        for mad in core::mem::take(&mut to_receiver) {
            quiet = false;
            receiver.handle_mad(now, &SaMad::from_bytes(&mad.to_bytes()));
            while let Some(mad) = receiver.poll_output() {
                post(&mut to_sender, mad, fate());
            }
        }
        message = message.or_else(|| receiver.take_message());
        for mad in core::mem::take(&mut to_sender) {
            quiet = false;
            sender.handle_mad(now, &SaMad::from_bytes(&mad.to_bytes()));
        }
        if sender.outcome().is_some() && message.is_some() {
            break;
        }
        if quiet {
            let Some(next) = sender.poll_timeout().into_iter().chain(receiver.poll_timeout()).min() else {
                break;
            };
            now = next;
            sender.handle_timeout(now);
            receiver.handle_timeout(now);
        }
    }
    message
}

fn post(queue: &mut Vec<SaMad>, mad: SaMad, fate: u8) {
    match fate {
        0 => (),
        1 => queue.extend([mad, mad]),
        2 => queue.insert(0, mad),
        _ => queue.push(mad),
    }
}

proptest! {
    #[test]
    fn a_message_survives_loss_reordering_and_duplication(
        len in 0usize..20_000,
        window in 1u32..70,
        mut seed in 1u64..,
    ) {
        let config =
            RmppConfig { window, retries: 100, patience: Duration::from_secs(100), ..RmppConfig::default() };
        let mut sender = Sender::new(START, config, template(), records(len));
        let mut receiver = Receiver::new(START, config);
        // Chance without a period: a period could lose the same segment for ever.
        let mut fate = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            u8::try_from(seed % 11).unwrap()
        };
        let message = carry(&mut sender, &mut receiver, &mut fate);
        prop_assert_eq!(sender.outcome(), Some(Ok(())));
        let message = message.expect("the sender was told that all arrived");
        prop_assert_eq!(message.records, records(len));
        prop_assert_eq!(message.first.attribute_offset, 14);
    }

    #[test]
    fn no_bytes_make_either_side_panic_or_hoard(mads in proptest::collection::vec(
        (any::<u8>(), 0u8..6, any::<u8>(), prop_oneof![Just(0u8), any::<u8>()], 0u32..80, any::<u32>()), 0..60))
    {
        let config = RmppConfig { max_bytes: 4000, ..RmppConfig::default() };
        let mut receiver = Receiver::new(START, config);
        let mut sender = Sender::new(START, config, template(), records(3000));
        for (version, kind, flags, status, data1, data2) in mads {
            let mut mad = template();
            mad.rmpp = RmppHeader {
                version: version % 2,
                kind: RmppType(kind),
                flags: RmppFlags(flags & 7),
                status: RmppStatus(status),
                data1,
                data2: data2 % 300,
                ..mad.rmpp
            };
            receiver.handle_mad(START, &mad);
            sender.handle_mad(START, &mad);
            prop_assert!(drain(&mut sender).len() <= 15);
            while receiver.poll_output().is_some() {}
            prop_assert!(receiver.take_message().is_none_or(|m| m.records.len() <= 4200));
        }
    }
}

#[test]
fn payload_lengths_count_the_sa_header_of_every_segment() {
    let mut sender = Sender::new(START, RmppConfig::default(), template(), records(450));
    let first = drain(&mut sender);
    assert_eq!(first.len(), 1, "the window opens at one");
    assert_eq!((first[0].rmpp.data1, first[0].rmpp.data2), (1, 3 * 220 - 150));
    sender.handle_mad(START, &ack(1, 65));
    let rest = drain(&mut sender);
    assert_eq!(rest.iter().map(|m| m.rmpp.data2).collect::<Vec<_>>(), [0, 20 + 50]);
    assert!(rest[1].rmpp.flags.has(RmppFlags::LAST));
    sender.handle_mad(START, &ack(3, 65));
    assert_eq!(sender.outcome(), Some(Ok(())));
}

#[test]
fn an_empty_table_is_one_segment_of_twenty_bytes() {
    let mut sender = Sender::new(START, RmppConfig::default(), template(), Vec::new());
    let only = drain(&mut sender)[0];
    assert!(only.rmpp.flags.has(RmppFlags(7)));
    assert_eq!(only.rmpp.data2, 20);
    let mut receiver = Receiver::new(START, RmppConfig::default());
    receiver.handle_mad(START, &only);
    assert_eq!(receiver.take_message().unwrap().records, []);
    let ack = receiver.poll_output().unwrap();
    assert_eq!((ack.header.method, ack.rmpp.data1), (Method::GET_TABLE, 1));
}

#[test]
fn an_unanswered_sender_resends_and_at_last_aborts() {
    let config = RmppConfig { retries: 2, ..RmppConfig::default() };
    let mut sender = Sender::new(START, config, template(), records(1000));
    assert_eq!(drain(&mut sender).len(), 1);
    for _ in 0..2 {
        sender.handle_timeout(sender.poll_timeout().unwrap());
        assert_eq!(drain(&mut sender)[0].rmpp.data1, 1);
    }
    sender.handle_timeout(sender.poll_timeout().unwrap());
    let last = drain(&mut sender);
    assert_eq!(last[0].rmpp.kind, RmppType::ABORT);
    assert_eq!(sender.outcome(), Some(Err(RmppError::Ours(RmppStatus::TOO_MANY_RETRIES))));
    assert_eq!(sender.poll_timeout(), None);
}

#[test]
fn acknowledgements_that_cannot_be_end_the_transfer() {
    let cases = [
        (ack(5, 4), RmppStatus::WINDOW_TOO_SMALL),
        (ack(2, 9), RmppStatus::SEGMENT_TOO_BIG),
        (
            SaMad { rmpp: RmppHeader { status: RmppStatus(9), ..ack(1, 2).rmpp }, ..ack(1, 2) },
            RmppStatus::ILLEGAL_STATUS,
        ),
        (
            SaMad { rmpp: RmppHeader { kind: RmppType(9), ..ack(1, 2).rmpp }, ..ack(1, 2) },
            RmppStatus::BAD_TYPE,
        ),
    ];
    for (mad, status) in cases {
        let mut sender = Sender::new(START, RmppConfig::default(), template(), records(1000));
        drain(&mut sender);
        sender.handle_mad(START, &mad);
        assert_eq!(sender.outcome(), Some(Err(RmppError::Ours(status))));
        assert_eq!(drain(&mut sender)[0].rmpp.status, status);
    }
}

#[test]
fn a_peer_that_stops_is_believed() {
    let mut sender = Sender::new(START, RmppConfig::default(), template(), records(1000));
    drain(&mut sender);
    sender.handle_mad(START, &refuse(&template(), RmppStatus::RESOURCES_EXHAUSTED));
    assert_eq!(sender.outcome(), Some(Err(RmppError::Peer(RmppStatus::RESOURCES_EXHAUSTED))));
    assert_eq!(drain(&mut sender), []);
}

#[test]
fn segments_that_contradict_each_other_are_refused() {
    let (first, last, none) = (RmppFlags::FIRST, RmppFlags::LAST, RmppFlags(0));
    let cases = [
        (vec![segment(1, none, 0)], RmppStatus::INCONSISTENT_FIRST),
        (vec![segment(1, first, 660), segment(2, first, 0)], RmppStatus::INCONSISTENT_FIRST),
        (vec![segment(1, first, 660), segment(2, last, 220)], RmppStatus::INCONSISTENT_LAST),
        (vec![segment(1, first, 0), segment(2, last, 19)], RmppStatus::INCONSISTENT_LAST),
        (vec![segment(1, first, 0), segment(2, last, 221)], RmppStatus::INCONSISTENT_LAST),
        (
            vec![segment(1, first, 0), segment(4, none, 0), segment(3, last, 40)],
            RmppStatus::INCONSISTENT_LAST,
        ),
        (vec![segment(1, first, 220 * 1000)], RmppStatus::RESOURCES_EXHAUSTED),
    ];
    for (mads, status) in cases {
        let config = RmppConfig { max_bytes: 100_000, ..RmppConfig::default() };
        let mut receiver = Receiver::new(START, config);
        let mut said = None;
        for mad in &mads {
            receiver.handle_mad(START, mad);
            said = receiver.poll_output();
        }
        assert_eq!(receiver.outcome(), Some(Err(RmppError::Ours(status))), "{mads:?}");
        assert_eq!(said.map(|m| m.rmpp.status), Some(status));
    }
}

#[test]
fn a_receiver_left_alone_gives_up_and_a_finished_one_repeats_its_last_word() {
    let config = RmppConfig::default();
    let mut receiver = Receiver::new(START, config);
    receiver.handle_mad(START, &segment(1, RmppFlags::FIRST, 0));
    receiver.handle_timeout(START + config.patience);
    assert_eq!(receiver.outcome(), Some(Err(RmppError::Ours(RmppStatus::TOTAL_TIME_TOO_LONG))));

    let mut receiver = Receiver::new(START, config);
    let only = segment(1, RmppFlags::FIRST.and(RmppFlags::LAST), 100);
    for _ in 0..2 {
        receiver.handle_mad(START, &only);
        assert_eq!(receiver.poll_output().map(|m| m.rmpp.kind), Some(RmppType::ACK));
    }
    assert!(receiver.take_message().is_some() && receiver.take_message().is_none());
    receiver.handle_timeout(START + config.patience);
    assert_eq!(receiver.poll_timeout(), None);
}

//! Rings between two sides that may not mean each other well.

use std::os::fd::AsFd;

use proptest::prelude::*;

use ib_wire::payload::{Lent, Payload};

use super::*;

struct Pair {
    maker: Rings,
    guest: Rings,
    memory: OwnedFd,
    bells: [Bell; 2],
}

fn pair() -> Pair {
    let memory = memory(MIN_RING).unwrap();
    let (a, b) = Bell::pair().unwrap();
    let bells = [a, b];
    let maker = Rings::map(memory.as_fd(), Side::Maker, &bells[0]).unwrap();
    let guest = Rings::map(memory.as_fd(), Side::Guest, &bells[1]).unwrap();
    Pair { maker, guest, memory, bells }
}

fn rang(bell: &Bell) -> bool {
    rustix::net::recv(bell, &mut [0u8; 64][..], rustix::net::RecvFlags::DONTWAIT).is_ok()
}

#[test]
fn records_come_out_as_they_went_in_over_many_rounds() {
    let Pair { mut maker, mut guest, .. } = pair();
    let mut space = vec![0; 1 << 17];
    let mut round = 0u32;
    while round < 2000 {
        let len = (round as usize * 7919) % 100_000;
        let fill = round.to_le_bytes()[0];
        let body = vec![fill; len];
        assert!(guest.writer.write(&[&round.to_ne_bytes(), &body]).unwrap());
        assert_eq!(maker.reader.read(&mut space).unwrap(), Some(len + 4));
        assert_eq!(space[..4], round.to_ne_bytes());
        assert!(space[4..len + 4].iter().all(|byte| *byte == fill));
        round += 1;
    }
    assert_eq!(maker.reader.read(&mut space).unwrap(), None);
}

#[test]
fn a_full_ring_takes_nothing_and_rings_when_there_is_room() {
    let Pair { mut maker, mut guest, bells, .. } = pair();
    let record = vec![1; 60_000];
    let mut written = 0;
    while maker.writer.write(&[&record]).unwrap() {
        written += 1;
    }
    assert_eq!(written, 4);
    assert!(maker.writer.waits_for_room(60_000).unwrap());
    assert!(!rang(&bells[0]));
    let mut space = vec![0; 1 << 16];
    assert_eq!(guest.reader.read(&mut space).unwrap(), Some(60_000));
    assert!(rang(&bells[0]), "the writer's bell");
    assert!(!maker.writer.waits_for_room(60_000).unwrap());
    // One of four has been read.
    let free = MIN_RING as usize - 3 * occupied(60_000);
    assert!(!maker.writer.waits_for_free(free).unwrap());
    assert!(maker.writer.waits_for_free(free + 1).unwrap());
    guest.reader.read(&mut space).unwrap();
    assert!(rang(&bells[0]));
    assert!(maker.writer.write(&[&record]).unwrap());
}

#[test]
fn the_bell_of_a_writer_that_waits_for_much_rings_once() {
    let Pair { mut maker, mut guest, bells, .. } = pair();
    let record = vec![1; 1000];
    while maker.writer.write(&[&record]).unwrap() {}
    assert!(maker.writer.waits_until_drained().unwrap());
    let mut space = vec![0; 1000];
    let mut rings = Vec::new();
    while guest.reader.read(&mut space).unwrap().is_some() {
        if rang(&bells[0]) {
            rings.push(maker.writer.free().unwrap());
        }
    }
    let enough = drained(MIN_RING as usize) as u64;
    assert!(matches!(rings[..], [free] if (enough..enough + 1024).contains(&free)), "{rings:?}");
    guest.reader.sleeps();
    assert!(!rang(&bells[0]), "nobody waits");
}

#[test]
fn a_sleeping_reader_is_woken_once() {
    let Pair { mut maker, mut guest, bells, .. } = pair();
    assert!(guest.reader.sleeps());
    maker.writer.write(&[b"a"]).unwrap();
    assert!(rang(&bells[1]));
    maker.writer.write(&[b"b"]).unwrap();
    assert!(!rang(&bells[1]), "it is awake");
    assert!(!guest.reader.sleeps(), "there is something to read");
    let mut space = [0; 8];
    assert_eq!(guest.reader.read(&mut space).unwrap(), Some(1));
    assert_eq!(guest.reader.read(&mut space).unwrap(), Some(1));
    assert!(guest.reader.sleeps());
}

#[test]
fn a_reader_knows_where_the_end_is_whatever_it_is_told() {
    let Pair { mut maker, mut guest, memory, .. } = pair();
    guest.writer.write(&[b"a"]).unwrap();
    assert_eq!(maker.reader.places(), (0, 64));
    maker.reader.read(&mut [0; 8]).unwrap();
    assert_eq!(maker.reader.places(), (64, 64));
    scribble(&memory, 0, &u64::MAX.to_ne_bytes());
    assert_eq!(maker.reader.places(), (64, 64 + u64::from(MIN_RING)));
}

#[test]
fn numbers_that_were_there_before_us_lead_nowhere() {
    let memory = memory(MIN_RING).unwrap();
    (0..64).for_each(|place| scribble(&memory, place * 8, &[0xfb; 8]));
    let (bell, _other) = Bell::pair().unwrap();
    let mut rings = Rings::map(memory.as_fd(), Side::Guest, &bell).unwrap();
    assert_eq!(rings.writer.write(&[b"a"]), Err(Broken::Place));
    assert_eq!(rings.reader.read(&mut [0; 8]), Err(Broken::Place));
}

#[test]
fn memory_that_is_no_pair_of_rings_is_refused() {
    let (bell, _) = Bell::pair().unwrap();
    let odd = memory(MIN_RING + 8).unwrap();
    assert!(Rings::map(odd.as_fd(), Side::Guest, &bell).is_err());
    let unsealed = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&unsealed, (HEAD + 2 * MIN_RING as usize) as u64).unwrap();
    assert!(Rings::map(unsealed.as_fd(), Side::Guest, &bell).is_err());
    let Pair { memory, .. } = pair();
    assert!(ftruncate(&memory, 0).is_err(), "it cannot be taken from under the other side");
}

/// Lets the guest write whatever it likes.
fn scribble(memory: &OwnedFd, offset: u64, bytes: &[u8]) {
    rustix::io::pwrite(memory, bytes, offset).unwrap();
}

proptest! {
    #[test]
    fn no_scribbling_leads_outside_or_never_ends(
        scribbles in prop::collection::vec((0u64..(HEAD as u64 + (1 << 12)), prop::collection::vec(any::<u8>(), 1..24)), 1..40),
        lengths in prop::collection::vec(0usize..70_000, 1..8),
    ) {
        let Pair { mut maker, mut guest, memory, .. } = pair();
        for len in lengths {
            let _ = guest.writer.write(&[&vec![7; len]]);
        }
        let (mut space, mut lent) = (vec![0; 1 << 16], Vec::new());
        for (offset, bytes) in scribbles {
            scribble(&memory, offset, &bytes);
            let _ = maker.writer.write(&[&bytes]);
            let reserved = maker.writer.reserve(100).ok().flatten();
            lent.extend(reserved.into_iter().chain(maker.reader.lend(100, 1 << 16).ok().flatten()));
            lent.truncate(usize::from(bytes[0] % 8));
            let _ = maker.writer.waits_for_room(1000);
            for _ in 0..100 {
                match maker.reader.read(&mut space) {
                    Ok(Some(len)) => prop_assert!(len <= space.len()),
                    Ok(None) | Err(_) => break,
                }
            }
            maker.reader.sleeps();
        }
    }

    /// Records come in order and as they were, whatever of them is written in its place, lent, and kept for how long.
    #[test]
    fn loans_do_not_change_what_is_read(
        steps in prop::collection::vec((0u8..8, 8usize..20_000, 0usize..6), 1..200),
    ) {
        let Pair { mut maker, mut guest, .. } = pair();
        let (mut number, mut due) = (0u8, std::collections::VecDeque::new());
        let (mut written, mut read) = (Vec::new(), Vec::new());
        let mut space = vec![0; 1 << 16];
        for (what, len, keep) in steps {
            number = number.wrapping_add(1);
            match what {
                0..=2 => {
                    if guest.writer.write(&[&[number; 8], &vec![number; len - 8]]).unwrap() {
                        due.push_back((number, len));
                    }
                }
                3 | 4 => {
                    let Some(loan) = guest.writer.reserve(20_000).unwrap() else { continue };
                    let mut body = payload(loan);
                    body.trim_front(8);
                    body.truncate(len - 8);
                    body.make_mut().fill(number);
                    if what == 4 && guest.writer.write(&[&[0; 8]]).unwrap() {
                        due.push_back((0, 8));
                    }
                    if guest.writer.write(&[&[number; 8], &body]).unwrap() {
                        due.push_back((number, len));
                    }
                    written.push((number, body));
                }
                5 => {
                    if let Some(len) = maker.reader.read(&mut space).unwrap() {
                        let (number, expected) = due.pop_front().expect("something was written");
                        prop_assert!(len == expected && space[..len].iter().all(|byte| *byte == number));
                    }
                }
                _ => {
                    if let Some(loan) = maker.reader.lend(1, 1 << 16).unwrap() {
                        let (number, expected) = due.pop_front().expect("something was written");
                        prop_assert_eq!(loan.bytes().len(), expected);
                        read.push((number, payload(loan)));
                    }
                }
            }
            for (number, body) in written.iter().chain(&read) {
                prop_assert!(body.iter().all(|byte| byte == number));
            }
            written.truncate(keep);
            read.truncate(keep);
            maker.reader.let_go();
        }
    }
}

/// The bytes of a loan, as a payload.
fn payload(loan: Loan) -> Payload {
    Payload::from_lent(Arc::new(loan))
}

#[test]
fn a_record_made_in_its_place_is_not_copied() {
    let Pair { mut maker, mut guest, .. } = pair();
    let mut space = vec![0; 1 << 16];
    // More than once around.
    for round in 0..20u8 {
        let mut body = payload(guest.writer.reserve(50_000).unwrap().unwrap());
        body.trim_front(8);
        body.truncate(40_000);
        body.make_mut().fill(round);
        let place = body.as_ptr();
        assert!(guest.writer.write(&[&[7; 8], &body]).unwrap());
        drop(body);
        let record = guest.writer.at - occupied(40_008) as u64 + LENGTH as u64;
        let seen = guest.writer.ring.piece(record, 40_008).as_ptr();
        assert_eq!(seen.wrapping_add(8).cast_const(), place);
        assert_eq!(seen.addr() % LINE, 0, "it begins a cache line");
        assert_eq!(maker.reader.read(&mut space).unwrap(), Some(40_008));
        assert!(space[..8] == [7; 8] && space[8..40_008].iter().all(|byte| *byte == round));
    }
}

#[test]
fn room_that_is_kept_is_not_written_over() {
    let Pair { mut maker, mut guest, .. } = pair();
    let mut kept = payload(guest.writer.reserve(1000).unwrap().unwrap());
    kept.make_mut().fill(9);
    let mut space = vec![0; 1 << 17];
    for round in 0..100u8 {
        let wrote = guest.writer.write(&[&vec![round; 60_000]]).unwrap();
        assert_eq!(wrote, round < 4, "{round}: all but what is kept");
        if wrote {
            assert_eq!(maker.reader.read(&mut space).unwrap(), Some(60_000));
        }
    }
    assert!(kept.iter().all(|byte| *byte == 9));
    assert!(guest.writer.write(&[b"head", &kept]).is_ok_and(|wrote| wrote), "it fits, as a copy");
    drop(kept);
    assert!(guest.writer.write(&[&[1; 60_000]]).unwrap());
    assert_eq!(maker.reader.read(&mut space).unwrap(), Some(1004));
    assert_eq!(space[..5], *b"head\x09");
    assert_eq!(maker.reader.read(&mut space).unwrap(), Some(60_000));
    assert_eq!(maker.reader.read(&mut space).unwrap(), None);
}

#[test]
fn room_that_was_given_back_is_written_as_ever() {
    let Pair { mut maker, mut guest, .. } = pair();
    drop(guest.writer.reserve(1000).unwrap().unwrap());
    guest.writer.write(&[b"one"]).unwrap();
    assert_eq!(guest.writer.at, 64);
    assert_eq!(maker.reader.read(&mut [0; 8]).unwrap(), Some(3));
}

#[test]
fn what_is_lent_stays_until_it_comes_back() {
    let Pair { mut maker, mut guest, bells, .. } = pair();
    for fill in 0..4u8 {
        assert!(maker.writer.write(&[&vec![fill; 60_000]]).unwrap());
    }
    let mut lent = Vec::new();
    while let Some(loan) = guest.reader.lend(1000, 1 << 16).unwrap() {
        lent.push(payload(loan));
    }
    assert_eq!(lent.len(), 4);
    assert!(guest.reader.sleeps());
    assert!(maker.writer.waits_for_room(60_000).unwrap());
    // Places come free in their order.
    drop(lent.remove(1));
    guest.reader.let_go();
    assert!(!rang(&bells[0]) || maker.writer.waits_for_room(60_000).unwrap());
    assert!(lent.iter().zip([0, 2, 3]).all(|(lent, fill)| lent.iter().all(|byte| *byte == fill)));
    drop(lent.remove(0));
    guest.reader.let_go();
    assert!(rang(&bells[0]), "the writer's bell");
    assert!(!maker.writer.waits_for_room(60_000).unwrap());
}

#[test]
fn short_records_and_more_than_64_are_not_lent() {
    let Pair { mut maker, mut guest, .. } = pair();
    maker.writer.write(&[&[1; 99]]).unwrap();
    assert!(guest.reader.lend(100, 1000).unwrap().is_none());
    assert_eq!(guest.reader.lend(1, 98).unwrap_err(), Broken::Length);
    (0..70).for_each(|_| assert!(maker.writer.write(&[&[2; 100]]).unwrap()));
    let mut space = [0; 100];
    assert_eq!(guest.reader.read(&mut space).unwrap(), Some(99));
    let mut lent = Vec::new();
    while let Some(loan) = guest.reader.lend(100, 1000).unwrap() {
        lent.push(loan);
    }
    assert_eq!(lent.len(), 64);
    assert_eq!(guest.reader.read(&mut space).unwrap(), Some(100));
    lent.remove(30);
    assert!(guest.reader.lend(100, 1000).unwrap().is_some());
}

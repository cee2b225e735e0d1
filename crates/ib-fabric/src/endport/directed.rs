//! One step of a directed route. IBA 1 §14.2.2.
//!
//! The specification gives each case to the node that starts, passes on or ends the route, on the way there and
//! on the way back; here they are one function of the packet and the node it is at.

use ib_wire::{
    addr::{Lid, PortNum},
    mad::smp::DirectedSmp,
};

/// Where a directed SMP goes from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// It is for this node.
    Here,
    /// Out through this port.
    Out(PortNum),
    /// The directed part ends here; on by LID.
    ByLid(Lid),
    /// The pointer does not fit, or this node passes nothing on.
    Bad,
}

/// Moves `smp` one step. `ingress` is the port it came in through, at its origin the port it leaves from.
pub(crate) fn step(smp: &mut DirectedSmp, ingress: PortNum, is_switch: bool) -> Hop {
    let (pointer, count) = (smp.hop_pointer(), smp.hop_count());
    if smp.is_return() {
        step_back(smp, pointer, count, is_switch)
    } else {
        step_forth(smp, pointer, count, ingress, is_switch)
    }
}

fn step_forth(smp: &mut DirectedSmp, pointer: u8, count: u8, ingress: PortNum, is_switch: bool) -> Hop {
    let starts = pointer == 0 && count != 0;
    if pointer > count {
        return if pointer == count + 1 { Hop::Here } else { Hop::Bad };
    }
    if !starts && count != 0 {
        smp.return_path[usize::from(pointer)] = ingress.0;
    }
    smp.set_hops(pointer + 1, count);
    if pointer == count {
        return end(smp.dest_lid, is_switch);
    }
    if !starts && !is_switch {
        return Hop::Bad;
    }
    Hop::Out(PortNum(smp.initial_path[usize::from(pointer) + 1]))
}

fn step_back(smp: &mut DirectedSmp, pointer: u8, count: u8, is_switch: bool) -> Hop {
    let starts = pointer == count + 1 && count != 0;
    if pointer == 0 {
        return Hop::Here;
    }
    if pointer > count + 1 {
        return Hop::Bad;
    }
    smp.set_hops(pointer - 1, count);
    if pointer == 1 {
        return end(smp.source_lid, is_switch);
    }
    if !starts && !is_switch {
        return Hop::Bad;
    }
    Hop::Out(PortNum(smp.return_path[usize::from(pointer) - 1]))
}

/// At the end of the directed part.
const fn end(lid: Lid, is_switch: bool) -> Hop {
    match (lid, is_switch) {
        (Lid::PERMISSIVE, _) => Hop::Here,
        (lid, true) => Hop::ByLid(lid),
        (_, false) => Hop::Bad,
    }
}

#[cfg(test)]
mod tests {
    use ib_wire::{
        addr::MKey,
        mad::{AttributeId, MadHeader, Method, MgmtClass, Status},
    };

    use super::*;

    fn smp(path: &[u8]) -> DirectedSmp {
        let mut smp = DirectedSmp {
            header: MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0),
            m_key: MKey(0),
            source_lid: Lid::PERMISSIVE,
            dest_lid: Lid::PERMISSIVE,
            data: [0; 64],
            initial_path: [0; 64],
            return_path: [0; 64],
        };
        smp.initial_path[1..=path.len()].copy_from_slice(path);
        smp.set_hops(0, u8::try_from(path.len()).expect("short"));
        smp
    }

    const OUT: fn(u8) -> Hop = |port| Hop::Out(PortNum(port));

    #[test]
    fn a_route_there_collects_the_way_back() {
        let mut smp = smp(&[1, 5, 3]);
        assert_eq!(step(&mut smp, PortNum(1), false), OUT(1));
        assert_eq!(step(&mut smp, PortNum(7), true), OUT(5));
        assert_eq!(step(&mut smp, PortNum(8), true), OUT(3));
        assert_eq!(step(&mut smp, PortNum(2), false), Hop::Here);
        assert_eq!((smp.hop_pointer(), &smp.return_path[..5]), (4, &[0, 7, 8, 2, 0][..]));

        smp.set_status(Status::OK, true);
        assert_eq!(step(&mut smp, PortNum(2), false), OUT(2));
        assert_eq!(step(&mut smp, PortNum(3), true), OUT(8));
        assert_eq!(step(&mut smp, PortNum(5), true), OUT(7));
        assert_eq!(step(&mut smp, PortNum(1), false), Hop::Here);
        assert_eq!(smp.hop_pointer(), 0);
    }

    #[test]
    fn a_route_of_no_hops_stays_where_it_is() {
        let mut smp = smp(&[]);
        assert_eq!(step(&mut smp, PortNum(1), false), Hop::Here);
        smp.set_status(Status::OK, true);
        assert_eq!(step(&mut smp, PortNum(1), false), Hop::Here);
        assert_eq!(smp.hop_pointer(), 0);
    }

    #[test]
    fn a_directed_part_between_two_parts_by_lid() {
        let mut smp = smp(&[4]);
        (smp.source_lid, smp.dest_lid) = (Lid(1), Lid(9));
        assert_eq!(step(&mut smp, PortNum(0), true), OUT(4), "starts at a switch");
        assert_eq!(step(&mut smp, PortNum(6), true), Hop::ByLid(Lid(9)));
        assert_eq!(step(&mut smp, PortNum(1), false), Hop::Here);
        smp.set_status(Status::OK, true);
        assert_eq!(step(&mut smp, PortNum(0), true), OUT(6));
        assert_eq!(step(&mut smp, PortNum(4), true), Hop::ByLid(Lid(1)));
        assert_eq!(step(&mut smp, PortNum(1), false), Hop::Here);
    }

    #[test]
    fn a_channel_adapter_passes_nothing_on() {
        let mut there = smp(&[1, 2, 3]);
        there.set_hops(1, 3);
        assert_eq!(step(&mut there, PortNum(1), false), Hop::Bad);
        let mut back = smp(&[1, 2, 3]);
        back.set_hops(3, 3);
        back.set_status(Status::OK, true);
        assert_eq!(step(&mut back, PortNum(1), false), Hop::Bad);
    }

    #[test]
    fn no_pointer_leads_outside_the_paths() {
        for (pointer, count) in (0..=255).flat_map(|p| (0..=63).map(move |c| (p, c))) {
            for is_return in [false, true] {
                let mut smp = smp(&[]);
                smp.set_hops(pointer, count);
                smp.set_status(Status::OK, is_return);
                let hop = step(&mut smp, PortNum(1), true);
                assert_eq!(hop == Hop::Bad, pointer > count + 1);
            }
        }
    }
}

//! Which adapter and port a program means that names none.
//!
//! What libibumad does: an active port is taken before one whose link is up, and that before one that is not
//! disabled; a switch has its port 0.

use crate::{client::Adapter, protocol::Port};

/// An adapter and a port number, which need not exist if the program named them itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) adapter: Option<&'a Adapter>,
    pub(crate) number: i32,
}

impl<'a> Choice<'a> {
    /// The port, if there is one of that number.
    pub(crate) fn port(&self) -> Option<(&'a Adapter, &'a Port)> {
        let adapter = self.adapter?;
        let port = adapter.ports.iter().find(|port| i32::from(port.number) == self.number)?;
        Some((adapter, port))
    }
}

/// The port for what a program says, where port 0 stands for any; none if there is nothing to choose from.
pub(crate) fn port<'a>(node: &'a [Adapter], name: Option<&str>, number: i32) -> Option<Choice<'a>> {
    let Some(name) = name else { return any(node, number) };
    let adapter = named(node, name);
    if number != 0 {
        return Some(Choice { adapter, number });
    }
    let (number, _) = usable(adapter?, number)?;
    Some(Choice { adapter, number })
}

/// The adapter for what a program says; none if there is nothing to choose from.
pub(crate) fn adapter<'a>(node: &'a [Adapter], name: Option<&str>) -> Option<Choice<'a>> {
    match name {
        Some(name) => Some(Choice { adapter: named(node, name), number: 0 }),
        None => any(node, 0),
    }
}

fn named<'a>(node: &'a [Adapter], name: &str) -> Option<&'a Adapter> {
    node.iter().find(|adapter| adapter.device.name == name)
}

fn any(node: &[Adapter], number: i32) -> Option<Choice<'_>> {
    if node.is_empty() {
        return None;
    }
    let mut linked = None;
    for adapter in node {
        match usable(adapter, number) {
            Some((number, true)) => return Some(Choice { adapter: Some(adapter), number }),
            Some((number, false)) => linked = linked.or(Some(Choice { adapter: Some(adapter), number })),
            None => {}
        }
    }
    // Nothing to be used: libibumad goes on with a name that nobody has.
    Some(linked.unwrap_or(Choice { adapter: None, number: 1 }))
}

/// The port of an adapter to be used, and whether it is active; `number` is what the program wants, or 0.
fn usable(adapter: &Adapter, number: i32) -> Option<(i32, bool)> {
    if adapter.device.node_type == SWITCH {
        return Some((0, true));
    }
    let ports = || adapter.ports.iter().filter(|port| number <= 0 || i32::from(port.number) == number);
    let active = ports().find(|port| port.state == ACTIVE);
    let linked = || ports().find(|port| port.physical_state == LINK_UP);
    let enabled = || ports().find(|port| port.physical_state != DISABLED);
    let port = active.or_else(linked).or_else(enabled)?;
    Some((port.number.into(), active.is_some()))
}

// Node type, port state and physical state as a NodeInfo and a PortInfo have them.
const SWITCH: u8 = 2;
const ACTIVE: u8 = 4;
const DISABLED: u8 = 3;
const LINK_UP: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Device;

    fn adapter_of(name: &str, node_type: u8, ports: &[(u8, u8, u8)]) -> Adapter {
        let ports: Vec<Port> = ports
            .iter()
            .map(|&(number, state, physical_state)| Port {
                number,
                lid: 0,
                lmc: 0,
                sm_lid: 0,
                sm_sl: 0,
                state,
                physical_state,
                rate: 0,
                capabilities: 0,
                prefix: 0,
                guid: 0,
                pkeys: Vec::new(),
                issm: String::new(),
            })
            .collect();
        let device = Device {
            name: name.to_owned(),
            node_type,
            ports: ports.iter().map(|port| port.number).collect(),
            firmware: String::new(),
            hardware: String::new(),
            model: String::new(),
            node_guid: 0,
            system_guid: 0,
        };
        Adapter { device, ports }
    }

    fn chosen(node: &[Adapter], name: Option<&str>, number: i32) -> Option<(Option<String>, i32)> {
        let choice = port(node, name, number)?;
        Some((choice.adapter.map(|adapter| adapter.device.name.clone()), choice.number))
    }

    fn found(name: &str, number: i32) -> Option<(Option<String>, i32)> {
        Some((Some(name.to_owned()), number))
    }

    #[test]
    fn an_active_port_is_preferred_to_a_linked_one_and_that_to_an_enabled_one() {
        let enabled = adapter_of("a", 1, &[(1, 1, 3), (2, 1, 2)]);
        let linked = adapter_of("b", 1, &[(1, 1, 2), (2, 2, 5)]);
        let active = adapter_of("c", 1, &[(1, 2, 5), (2, 4, 5)]);
        let node = [enabled, linked, active];
        assert_eq!(chosen(&node, None, 0), found("c", 2));
        assert_eq!(chosen(&node[..2], None, 0), found("a", 2));
        assert_eq!(chosen(&node, Some("a"), 0), found("a", 2));
        assert_eq!(chosen(&node, Some("b"), 0), found("b", 2));
        assert_eq!(chosen(&node, Some("c"), 0), found("c", 2));
        assert_eq!(chosen(&node, None, 1), found("b", 1));
    }

    #[test]
    fn a_switch_has_its_port_0() {
        let node = [adapter_of("s", 2, &[(0, 1, 3)])];
        assert_eq!(chosen(&node, None, 0), found("s", 0));
        assert_eq!(chosen(&node, Some("s"), 0), found("s", 0));
        assert_eq!(chosen(&node, None, 1), found("s", 0));
    }

    #[test]
    fn what_a_program_names_is_not_put_in_question() {
        let node = [adapter_of("a", 1, &[(1, 1, 3)])];
        assert_eq!(chosen(&node, Some("a"), 1), found("a", 1));
        assert_eq!(chosen(&node, Some("a"), 7), found("a", 7));
        assert_eq!(chosen(&node, Some("b"), 1), Some((None, 1)));
        assert!(port(&node, Some("a"), 7).is_some_and(|choice| choice.port().is_none()));
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let disabled = [adapter_of("a", 1, &[(1, 1, 3)])];
        assert_eq!(chosen(&[], None, 0), None);
        assert_eq!(chosen(&disabled, Some("a"), 0), None);
        assert_eq!(chosen(&disabled, Some("b"), 0), None);
        assert_eq!(chosen(&disabled, None, 0), Some((None, 1)));
    }
}

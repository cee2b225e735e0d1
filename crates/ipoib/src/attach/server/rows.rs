//! What a fabric shows of its drivers.

use ib_fabric::PortId;
use ib_lab::ClientId;

use super::{Attach, Driver, Identity};
use crate::control::schema::{CounterRow, HostRow, Noun, Shown};

impl Attach {
    /// The rows that a fabric can show of its drivers without them: what passed between, and, for hosts, whom it
    /// misses. `answered` are those who told themselves, `silent` those who were asked and did not answer; a driver that
    /// is neither came after the question.
    pub(crate) fn rows(&self, noun: Noun, answered: &[ClientId], silent: &[ClientId]) -> Shown {
        match noun {
            Noun::Counters => Shown::Counters(self.identities.values().map(counter_row).collect()),
            Noun::Hosts => {
                let missing = self.identities.iter().filter_map(|(port, identity)| {
                    let why = match self.holder(*port) {
                        None => "no driver has the port: start one with `ipoib up`".to_owned(),
                        Some(driver) if answered.contains(&driver.client) => return None,
                        Some(driver) if silent.contains(&driver.client) => {
                            format!("the driver does not answer: is process {} stopped?", driver.pid)
                        }
                        Some(driver) => format!("the driver, process {}, has just begun", driver.pid),
                    };
                    Some((identity, why))
                });
                Shown::Hosts(missing.flat_map(|(identity, why)| missing_rows(identity, &why)).collect())
            }
            _ => Shown::Hosts(Vec::new()),
        }
    }

    fn holder(&self, port: PortId) -> Option<&Driver> {
        self.connections.values().filter_map(|c| c.driver.as_ref()).find(|driver| driver.port == port)
    }
}

fn counter_row(identity: &Identity) -> CounterRow {
    CounterRow {
        node: identity.node.clone(),
        part: "driver".to_owned(),
        counters: crate::face::numbers(&identity.counters),
        drops: crate::face::numbers(&identity.counters.drops),
    }
}

fn missing_rows(identity: &Identity, why: &str) -> Vec<HostRow> {
    let row = |interface: &String| HostRow {
        name: identity.node.clone(),
        interface: interface.clone(),
        state: "down".to_owned(),
        reason: Some(why.to_owned()),
        ..HostRow::default()
    };
    identity.interfaces.iter().map(row).collect()
}

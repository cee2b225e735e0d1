//! Get and Set of the tables: keys, GUIDs, lanes, forwarding. IBA 1 §14.2.5.4 to §14.2.5.12.

use alloc::{boxed::Box, vec::Vec};

use ib_wire::{
    mad::{
        AttributeId, Status,
        attr::{
            GuidBlock, LinearBlock, MulticastBlock, PKeyBlock, SlToVlTable, SwitchInfo, VlArbitrationBlock,
        },
    },
    ud::PortEvent,
};

use super::{Data, Device, Effect, padded};
use crate::{lanes::Lanes, switch::Switch};

impl Device<'_> {
    pub(super) fn get_table(&self, attribute: AttributeId, modifier: u32) -> Result<Data, Status> {
        match attribute {
            AttributeId::GUID_INFO => {
                Ok(self.ends[self.end].guid_block(self.guid_block(modifier)?).to_bytes())
            }
            AttributeId::P_KEY_TABLE => {
                let (port, block) = self.p_key_block(modifier)?;
                Ok(self.ports[port].pkeys.block(block).ok_or(Status::BAD_FIELD)?.to_bytes())
            }
            AttributeId::SL_TO_VL => {
                let (from, to) = self.lane_ports(modifier)?;
                let operational = self.ports[to].info.operational_vls;
                let lanes = match &self.switch {
                    Some(switch) => switch.lanes(self.ports[from].num, self.ports[to].num),
                    None => self.ports[to].lanes,
                };
                Ok(padded(&lanes.table(operational).to_bytes()))
            }
            AttributeId::VL_ARBITRATION => {
                let (port, block) = self.arbitration_block(modifier)?;
                let tables = self.ports[port].arbitration.as_ref();
                Ok(tables.map_or_else(VlArbitrationBlock::default, |tables| tables[block]).to_bytes())
            }
            AttributeId::LINEAR_FORWARDING => {
                let block = self.switch()?.linear.block(index(modifier)).ok_or(Status::BAD_FIELD)?;
                Ok(block.to_bytes())
            }
            AttributeId::MULTICAST_FORWARDING => {
                let (block, position) = multicast_block(modifier);
                let block = self.switch()?.multicast.block(block, position).ok_or(Status::BAD_FIELD)?;
                Ok(block.to_bytes())
            }
            _ => Err(Status::BAD_METHOD_ATTRIBUTE),
        }
    }

    pub(super) fn set_table(
        &mut self,
        attribute: AttributeId,
        modifier: u32,
        data: &Data,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Status> {
        match attribute {
            AttributeId::GUID_INFO => {
                let block = self.guid_block(modifier)?;
                self.ends[self.end].set_guid_block(block, &GuidBlock::from_bytes(data));
                effects.push(Effect::Event { end: self.end, event: PortEvent::GidChange });
                Ok(())
            }
            AttributeId::P_KEY_TABLE => self.set_p_keys(modifier, &PKeyBlock::from_bytes(data), effects),
            AttributeId::SL_TO_VL => self.set_lanes(modifier, data),
            AttributeId::VL_ARBITRATION => {
                let (port, block) = self.arbitration_block(modifier)?;
                let tables = self.ports[port].arbitration.get_or_insert_with(Box::default);
                tables[block] = VlArbitrationBlock::from_bytes(data);
                Ok(())
            }
            AttributeId::LINEAR_FORWARDING => {
                let ports = LinearBlock::from_bytes(data);
                self.switch_mut()?.linear.set_block(index(modifier), &ports).ok_or(Status::BAD_FIELD)
            }
            AttributeId::MULTICAST_FORWARDING => {
                let (block, position) = multicast_block(modifier);
                let masks = MulticastBlock::from_bytes(data);
                self.switch_mut()?.multicast.set_block(block, position, &masks).ok_or(Status::BAD_FIELD)
            }
            _ => Err(Status::BAD_METHOD_ATTRIBUTE),
        }
    }

    pub(super) fn set_switch_info(&mut self, data: &Data) -> Result<(), Status> {
        let switch = self.switch_mut()?;
        let (asked, _) = SwitchInfo::parse(data).map_err(|_| Status::BAD_FIELD)?;
        if asked.linear_fdb_top.0 >= switch.info.linear_fdb_cap {
            return Err(Status::BAD_FIELD);
        }
        switch.info = SwitchInfo {
            linear_fdb_top: asked.linear_fdb_top,
            default_port: asked.default_port,
            default_multicast_primary_port: asked.default_multicast_primary_port,
            default_multicast_not_primary_port: asked.default_multicast_not_primary_port,
            life_time: asked.life_time,
            port_state_change: switch.info.port_state_change && !asked.port_state_change,
            multicast_fdb_top: asked.multicast_fdb_top,
            ..switch.info
        };
        Ok(())
    }

    fn set_p_keys(
        &mut self,
        modifier: u32,
        keys: &PKeyBlock,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Status> {
        let (index, block) = self.p_key_block(modifier)?;
        let port = &mut self.ports[index];
        if port.pkeys.block(block) == Some(*keys) {
            return Ok(());
        }
        port.pkeys.set_block(block, keys).ok_or(Status::BAD_FIELD)?;
        if port.end.is_some() {
            self.ends[self.end].qps.refresh(&port.pkeys);
            effects.push(Effect::Event { end: self.end, event: PortEvent::PKeyChange });
        }
        Ok(())
    }

    fn set_lanes(&mut self, modifier: u32, data: &Data) -> Result<(), Status> {
        let (from, to) = self.lane_ports(modifier)?;
        let (bytes, _) = data.split_first_chunk::<8>().ok_or(Status::BAD_FIELD)?;
        let lanes = Lanes::of(&SlToVlTable::from_bytes(bytes));
        let nums =
            |every: u32, one: usize| if modifier & every != 0 { 0..self.ports.len() } else { one..one + 1 };
        let (ways_in, ways_out) = (nums(SlToVlTable::ALL_IN, from), nums(SlToVlTable::ALL_OUT, to));
        match &mut self.switch {
            Some(switch) => {
                for (from, to) in ways_in.flat_map(|from| ways_out.clone().map(move |to| (from, to))) {
                    switch.set_lanes(self.ports[from].num, self.ports[to].num, lanes);
                }
            }
            None => self.ports[to].lanes = lanes,
        }
        Ok(())
    }

    fn switch(&self) -> Result<&Switch, Status> {
        self.switch.as_deref().ok_or(Status::BAD_METHOD_ATTRIBUTE)
    }

    fn switch_mut(&mut self) -> Result<&mut Switch, Status> {
        self.switch.as_deref_mut().ok_or(Status::BAD_METHOD_ATTRIBUTE)
    }

    fn guid_block(&self, modifier: u32) -> Result<usize, Status> {
        let block = index(modifier);
        let cap = usize::from(self.ports[self.own_port()].info.guid_cap);
        if block < cap.div_ceil(8) { Ok(block) } else { Err(Status::BAD_FIELD) }
    }

    /// Port and block: `port << 16 | block`.
    fn p_key_block(&self, modifier: u32) -> Result<(usize, usize), Status> {
        let [_, port, high, low] = modifier.to_be_bytes();
        Ok((self.table_port(port)?, u16::from_be_bytes([high, low]).into()))
    }

    /// Way in and way out: `in << 8 | out`. Where a switch is asked for all of them, the first stands for them.
    fn lane_ports(&self, modifier: u32) -> Result<(usize, usize), Status> {
        let [_, _, from, to] = modifier.to_be_bytes();
        let port =
            |every, one| if modifier & every != 0 { Ok(self.own_port()) } else { self.table_port(one) };
        Ok((port(SlToVlTable::ALL_IN, from)?, port(SlToVlTable::ALL_OUT, to)?))
    }

    /// Port and table: `table << 16 | port`, tables from 1.
    fn arbitration_block(&self, modifier: u32) -> Result<(usize, usize), Status> {
        let [_, table, _, port] = modifier.to_be_bytes();
        let block = usize::from(table.checked_sub(1).ok_or(Status::BAD_FIELD)?);
        if block < 4 { Ok((self.table_port(port)?, block)) } else { Err(Status::BAD_FIELD) }
    }
}

/// Position and block: `position << 28 | block`.
fn multicast_block(modifier: u32) -> (usize, usize) {
    (index(modifier & 0x1ff), index(modifier >> 28))
}

fn index(modifier: u32) -> usize {
    usize::try_from(modifier).unwrap_or(usize::MAX)
}

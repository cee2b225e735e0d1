//! Sampling: what is counted between two moments. IBA 1 §16.1.3.2, §16.1.3.4.

use crate::{
    addr::PortNum,
    layout::{get_bits, layout, open_enum, put_bits},
};

layout! {
    /// What shall be sampled, and what can be.
    pub struct PortSamplesControl[80] {
        /// The operation whose packets are sampled, where that is chosen.
        opcode: u8 = 0, 8;
        /// Which port.
        port: PortNum = 8, 8;
        /// Length of a tick, less one, in times that one lane takes for ten bits.
        tick: u8 = 16, 8;
        /// Width of the counters: 0 for 16 bits, 4 bits more each, 4 for 32.
        counter_width: u8 = 29, 3;
        /// What each of the counters 0 to 9 can count, three bits each: 1 required, 2 optional, 4 vendor's.
        counter_masks_0_to_9: u32 = 34, 30;
        /// The same for the counters 10 to 14.
        counter_masks_10_to_14: u16 = 65, 15;
        /// How many samplings can run at once, less one.
        sample_mechanisms: u8 = 80, 8;
        /// How far the sampling is.
        sample_status: SampleStatus = 94, 2;
        /// Optional counters that can be sampled.
        option_mask: u64 = 96, 64;
        /// Vendor's counters that can be sampled.
        vendor_mask: u64 = 160, 64;
        /// Ticks until it begins.
        sample_start: u32 = 224, 32;
        /// Ticks from then to its end.
        sample_interval: u32 = 256, 32;
        /// Given back with the result.
        tag: u16 = 288, 16;
        /// What is counted: see `counter`.
        counter_selects: [u8; 30] = 304, 240;
        /// Optional counters that can only be sampled.
        samples_only_option_mask: u64 = 576, 64;
    }
}

layout! {
    /// What was sampled.
    pub struct PortSamplesResult[64] {
        /// Of the request.
        tag: u16 = 0, 16;
        /// How far the sampling is; the counters mean something when it is done.
        sample_status: SampleStatus = 30, 2;
        /// The counters: see `counter`.
        counters: [u8; 60] = 32, 480;
    }
}

open_enum! {
    /// How far a sampling is.
    pub struct SampleStatus(u8) {
        /// Done, or never begun.
        DONE = 0;
        /// Waiting for its beginning.
        STARTED = 1;
        /// Counting.
        RUNNING = 2;
    }

    /// What a counter can count.
    pub struct SampledCounter(u16) {
        /// Nothing.
        NONE = 0;
        /// 4-byte words sent.
        XMIT_DATA = 1;
        /// 4-byte words received.
        RCV_DATA = 2;
        /// Packets sent.
        XMIT_PKTS = 3;
        /// Packets received.
        RCV_PKTS = 4;
        /// Ticks with data waiting.
        XMIT_WAIT = 5;
    }
}

impl PortSamplesControl {
    /// Counters there are.
    pub const COUNTERS: usize = 15;

    /// What counter `i` counts; nothing beyond the last.
    pub fn counter(&self, i: usize) -> SampledCounter {
        let at = |i| self.counter_selects.get(i).copied().unwrap_or_default();
        SampledCounter(u16::from_be_bytes([at(i * 2), at(i * 2 + 1)]))
    }

    /// Says what counter `i` shall count; no matter if there is no such counter.
    pub fn set_counter(&mut self, i: usize, counts: SampledCounter) {
        if i < Self::COUNTERS {
            put_bits(&mut self.counter_selects, i * 16, 16, counts.0.into());
        }
    }
}

impl PortSamplesResult {
    /// Counter `i`, 0 beyond the last.
    pub fn counter(&self, i: usize) -> u32 {
        if i >= PortSamplesControl::COUNTERS {
            return 0;
        }
        u32::try_from(get_bits(&self.counters, i * 32, 32)).expect("32 bits")
    }

    /// Sets counter `i`; no matter if there is no such counter.
    pub fn set_counter(&mut self, i: usize, value: u32) {
        if i < PortSamplesControl::COUNTERS {
            put_bits(&mut self.counters, i * 32, 32, value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_chosen_and_read_by_number() {
        let mut control = PortSamplesControl::from_bytes(&[0; 80]);
        (control.tag, control.sample_status) = (0xabcd, SampleStatus::RUNNING);
        control.set_counter(0, SampledCounter::RCV_PKTS);
        control.set_counter(14, SampledCounter::XMIT_WAIT);
        control.set_counter(15, SampledCounter::XMIT_WAIT);
        let bytes = control.to_bytes();
        assert_eq!((bytes[11], &bytes[36..40], &bytes[66..68]), (2, &[0xab, 0xcd, 0, 4][..], &[0, 5][..]));
        assert_eq!(control.counter(14), SampledCounter::XMIT_WAIT);
        assert_eq!(control.counter(15), SampledCounter::NONE);
        let mut result = PortSamplesResult::from_bytes(&[0; 64]);
        result.set_counter(14, 9);
        result.set_counter(15, 9);
        assert_eq!((result.to_bytes()[63], result.counter(14), result.counter(15)), (9, 9, 0));
    }
}

//! Hash maps whose order nobody looks at, seeded so that a run can be repeated.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// A map for exact lookups. Never iterated: order would depend on the hasher.
pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// An empty map.
pub(crate) fn map<K, V>(seed: u64) -> Map<K, V> {
    Map::with_hasher(FixedState::with_seed(seed))
}

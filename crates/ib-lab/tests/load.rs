//! What a cluster asks of subnet administration: a small one, by the scene of the example `cluster`.

#[path = "../examples/cluster/scene.rs"]
mod scene;

use std::time::Duration;

use scene::{Load, Plan, Scene};

const SECONDS: Duration = Duration::from_secs(10);

/// Everything that happens, and the load of each step.
fn play(seed: u64) -> (Scene, usize, [Load; 5]) {
    let plan = Plan { topology: "fat-tree:k=8,hosts=100".to_owned(), peers: 8, groups: 4, seed };
    let mut scene = Scene::new(plan);
    let mut pairs = 0;
    let steps: [&mut dyn FnMut(&mut Scene); 5] = [
        &mut |_| {},
        &mut |scene| {
            assert_eq!(scene.simulation.up(), 100);
            scene.join_groups();
        },
        &mut |scene| pairs = scene.meet_peers(),
        &mut Scene::lose_spine,
        &mut Scene::replace_manager,
    ];
    let loads = steps.map(|step| {
        let first = scene.load.len();
        step(&mut scene);
        scene.pass(SECONDS);
        scene.load_since(first)
    });
    (scene, pairs, loads)
}

#[test]
fn a_lost_spine_costs_no_question_and_a_new_manager_no_storm() {
    let (scene, pairs, [up, joined, met, lost, replaced]) = play(7);
    // The broadcast group and the two that every host is in, once each.
    assert_eq!((up.paths, up.groups), (0, 300));
    assert_eq!((joined.paths, joined.groups), (0, 400));
    assert!(scene.replies() >= 800, "{} pings were answered", scene.replies());
    // One question for each end of a pair, and none again.
    assert!(met.paths <= 2 * pairs as u64, "{} questions of {pairs} pairs", met.paths);
    // No LID has changed: every path that is known goes on, over other spines.
    assert_eq!(lost, Load::default());
    // Memberships and subscriptions are confirmed once each; what is known of paths stays.
    assert!(replaced.paths <= met.paths, "{replaced:?}");
    assert!(replaced.groups >= 700 && replaced.groups <= 2 * 700, "{replaced:?}");
    // Each host waits a time of its own within the spread: no slot has most of it.
    let busiest = scene.load[scene.load.len() - 100..].iter().map(|load| load.all()).max();
    assert!(busiest < Some(replaced.all() / 2), "{busiest:?} of {replaced:?}");
}

#[test]
fn the_same_seed_gives_the_same_load() {
    let (first, ..) = play(3);
    let (again, ..) = play(3);
    assert_eq!(first.load, again.load);
    assert!(first.load != play(4).0.load);
}

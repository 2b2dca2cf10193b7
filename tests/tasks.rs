//! The example of a service of many tasks, as a test.

#[path = "../examples/tasks.rs"]
#[allow(unreachable_pub, reason = "it is a program of its own, too")]
mod example;

#[test]
fn many_tasks_on_one_thread_append_reserve_and_put_and_all_of_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    example::run(dir.path()).unwrap();
}

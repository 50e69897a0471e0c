//! Convolutions.
fn main() {
    divan::main();
}

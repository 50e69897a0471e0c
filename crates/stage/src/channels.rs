//! Which inputs of a model were channels-first before it was prepared.

use shiftwise_graph::Model;

/// The key among the model's metadata. Its value is a JSON list of names of inputs.
const KEY: &str = "shiftwise.channels_last_inputs";

/// Notes that these inputs are \[N, H, W, C\] now, and were \[N, C, H, W\]. The note stays with the model through all stages.
pub fn note_channels_last(model: &mut Model, inputs: &[String]) {
    let mut all = channels_last_inputs(model);
    all.extend(inputs.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
    model.metadata.retain(|(key, _)| key != KEY);
    model.metadata.push((KEY.to_owned(), serde_json::json!(all).to_string()));
}

/// The inputs that [`note_channels_last`] noted and that are there.
pub fn channels_last_inputs(model: &Model) -> Vec<String> {
    let value = model.metadata.iter().find(|(key, _)| key == KEY).map_or("[]", |(_, value)| value);
    let names: Vec<String> = serde_json::from_str(value).unwrap_or_default();
    names.into_iter().filter(|name| model.graph.is_input(name)).collect()
}

//! A folder of images.

use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use super::Samples;
use super::folder::fingerprint_of;
use crate::image::{self, Target};
use crate::{Channels, DataError, InputSpec, Layout, Recipe, Result, shape};

#[derive(Debug)]
struct Images {
    files: Vec<PathBuf>,
    input: InputSpec,
    recipe: Recipe,
    target: Target,
}

pub(super) fn open(
    dir: &Path,
    files: Vec<PathBuf>,
    recipe: Option<&Recipe>,
    inputs: &[InputSpec],
) -> Result<Box<dyn Samples>> {
    let [input] = inputs else {
        let names: Vec<String> = inputs.iter().map(|i| i.name.clone()).collect();
        return Err(DataError::Inputs {
            path: dir.to_owned(),
            found: vec!["images".to_owned()],
            inputs: names,
        });
    };
    let fail = |reason: String| DataError::Unsupported { input: input.name.clone(), reason };
    let Some(target) = Target::new(input.dtype) else {
        return Err(fail(format!(
            "images fill float and uint8 inputs, this one is {}; give .npy files",
            input.dtype
        )));
    };
    let mut recipe = recipe.cloned().unwrap_or_default();
    if input.was_channels_first {
        // Whichever layout the recipe names, that of the model before or of the model now: pixels go in as it takes them.
        recipe.layout = Layout::Nhwc;
    }
    if target == Target::U8 && recipe.normalizes() {
        return Err(fail(
            "it takes uint8, whose pixels go in as they are; remove scale, divide, mean and std from the recipe"
                .to_owned(),
        ));
    }
    let images = Images { files, input: input.clone(), recipe, target };
    if let Some([height, width]) = image::known_size(&images.recipe) {
        let found = images.shape(height as usize, width as usize);
        if images.fit(&found).is_none() {
            return Err(DataError::Rows {
                path: dir.to_owned(),
                input: input.name.clone(),
                misfit: Box::new(shape::misfit(&found, input, images.advice(&found))),
            });
        }
    }
    Ok(Box::new(images))
}

impl Images {
    /// The shape of a sample of this size.
    fn shape(&self, height: usize, width: usize) -> Vec<usize> {
        let channels = self.recipe.channels.count();
        match self.recipe.layout {
            Layout::Nchw => vec![1, channels, height, width],
            Layout::Nhwc => vec![1, height, width, channels],
        }
    }

    /// The shape under which it goes into the input, which may lack the batch.
    fn fit(&self, found: &[usize]) -> Option<Vec<usize>> {
        shape::fit(found, &self.input).or_else(|| {
            let unbatched = found.get(1..)?;
            (self.input.shape.len() == unbatched.len()).then(|| shape::fit(unbatched, &self.input))?
        })
    }

    /// What to change in the recipe.
    fn advice(&self, found: &[usize]) -> Option<String> {
        if shape::fixed_batch(&self.input).is_some() {
            return None;
        }
        let (height, width) = self.size_of(found);
        // The other choices of layout and channels, in case one of them fits.
        for layout in [self.recipe.layout, Layout::Nchw, Layout::Nhwc] {
            for channels in [self.recipe.channels, Channels::Rgb, Channels::Gray] {
                let recipe = Recipe { channels, layout, ..self.recipe.clone() };
                let other =
                    Self { files: Vec::new(), input: self.input.clone(), recipe, target: self.target };
                if other.fit(&other.shape(height, width)).is_none() {
                    continue;
                }
                let mut changes = Vec::new();
                if layout != self.recipe.layout {
                    changes.push(if layout == Layout::Nchw {
                        "layout = \"NCHW\""
                    } else {
                        "layout = \"NHWC\""
                    });
                }
                if channels != self.recipe.channels {
                    changes.push(if channels == Channels::Gray {
                        "channels = \"GRAY\""
                    } else {
                        "channels = \"RGB\""
                    });
                }
                return Some(format!("set {} in the recipe", changes.join(" and ")));
            }
        }
        Some("set resize and crop in the recipe (and layout, where the order differs)".to_owned())
    }

    fn size_of(&self, found: &[usize]) -> (usize, usize) {
        match (self.recipe.layout, found) {
            (Layout::Nchw, [_, _, h, w]) | (Layout::Nhwc, [_, h, w, _]) => (*h, *w),
            _ => (0, 0),
        }
    }
}

impl Samples for Images {
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>> {
        let path = &self.files[index];
        let bytes = std::fs::read(path).map_err(DataError::read(path))?;
        let value = image::load(&bytes, path, &self.recipe, self.target)?;
        let found = value.shape().to_vec();
        let value =
            self.fit(&found).and_then(|shape| value.reshaped(&shape)).ok_or_else(|| DataError::Shape {
                sample: id.to_owned(),
                input: self.input.name.clone(),
                misfit: Box::new(shape::misfit(&found, &self.input, self.advice(&found))),
            })?;
        Ok(vec![(self.input.name.clone(), value)])
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        fingerprint_of(&self.files[index])
    }
}

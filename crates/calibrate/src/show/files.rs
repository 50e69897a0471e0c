//! Pictures in files.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use shiftwise_artifact::atomic;
use shiftwise_artifact::stats::TensorView;
use shiftwise_quant::QuantType;
use shiftwise_stage::Failure;

use super::plot::{BACKGROUND, Picture};
use super::png::Pixels;
use super::svg::Svg;

/// Pictures that others write, and which are no names of directories.
const FOREIGN: [&str; 9] = ["jpg", "jpeg", "gif", "bmp", "pdf", "webp", "tif", "tiff", "eps"];
/// The longest name of a file, without its extension and number.
const LONGEST: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

/// Draws tensors: one into a file, any number into a directory. Says how many pictures there are.
pub(super) fn write(path: &Path, tensors: &[TensorView<'_>], ty: QuantType) -> Result<usize, Failure> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let format = match extension.as_str() {
        "svg" => Some(Format::Svg),
        "png" => Some(Format::Png),
        other if FOREIGN.contains(&other) => {
            return Err(Failure::usage(format!("draw {}: pictures are .svg or .png", path.display()))
                .with_help("change the extension"));
        }
        _ => None,
    };
    match (format, tensors) {
        (Some(format), [tensor]) => draw(path, *tensor, ty, format)?,
        (Some(_), _) => {
            return Err(Failure::usage(format!(
                "draw {} tensors into the one file {}",
                tensors.len(),
                path.display()
            ))
            .with_help("name one tensor, or give --plot a directory"));
        }
        (None, _) => {
            std::fs::create_dir_all(path).map_err(|e| Failure::write(path, &e))?;
            let names = names(tensors.iter().map(|t| t.name()));
            let files: Vec<_> = tensors.iter().zip(names).collect();
            files.par_iter().try_for_each(|(tensor, name)| {
                draw(&path.join(format!("{name}.svg")), **tensor, ty, Format::Svg)
            })?;
        }
    }
    Ok(tensors.len())
}

fn draw(path: &Path, tensor: TensorView<'_>, ty: QuantType, format: Format) -> Result<(), Failure> {
    let picture = Picture::new(tensor, ty);
    let (width, height) = picture.size();
    let bytes = match format {
        Format::Svg => {
            let mut svg = Svg::new(width, height, BACKGROUND);
            picture.draw(&mut svg);
            svg.finish().into_bytes()
        }
        Format::Png => {
            let mut pixels = Pixels::new(width, height, BACKGROUND);
            picture.draw(&mut pixels);
            pixels
                .encode()
                .map_err(|e| Failure::bug(format!("encode {}", path.display())).because(e.to_string()))?
        }
    };
    Ok(atomic::write(path, &bytes)?)
}

/// Names of files for names of tensors: letters, digits, dots, hyphens and underscores only, and no two that differ by case
/// alone.
fn names<'a>(tensors: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    tensors
        .map(|tensor| {
            let plain: String = tensor.chars().map(safe).take(LONGEST).collect();
            let plain = plain.trim_start_matches(['.', '_', '-']).trim_end_matches('.');
            // Some systems take these for devices.
            let reserved = ["con", "prn", "aux", "nul"].contains(&plain.to_lowercase().as_str());
            let plain =
                if plain.is_empty() || reserved { format!("tensor_{plain}") } else { plain.to_owned() };
            let mut name = plain.clone();
            let mut number = 2;
            while !taken.insert(name.to_lowercase()) {
                name = format!("{plain}-{number}");
                number += 1;
            }
            name
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_unique() {
        let tensors = ["/conv/Relu_output_0", "a:b", "a b", "A_B", "../../etc", "", "nul", "a_b-2", "ß"];
        let wanted = [
            "conv_Relu_output_0",
            "a_b",
            "a_b-2",
            "A_B-3",
            "etc",
            "tensor_",
            "tensor_nul",
            "a_b-2-2",
            "tensor_-2",
        ];
        assert_eq!(names(tensors.into_iter()), wanted);
        let long = "x".repeat(500);
        assert_eq!(names([long.as_str()].into_iter())[0].len(), LONGEST);
    }
}

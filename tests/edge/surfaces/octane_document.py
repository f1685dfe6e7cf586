"""What the document on callback streaming gives word for word: its handler of callbacks, and what it says is seen where all is well."""

from __future__ import annotations

# Step 2 of "Key Code Addition".
STREAM_HANDLER = """
// Step 2: Process stream data with oneof structure
stream.on('data', (response: any) => {
  if (response.newImage) {
    if (response.newImage.render_images && response.newImage.render_images.data) {
      this.emit('OnNewImage', {
        render_images: response.newImage.render_images,
        callback_id: response.newImage.callback_id,
        user_data: response.newImage.user_data
      });
    }
  }
});
"""

# "Expected Behavior After Fix", "Browser Console", without the pictograms before each line.
BROWSER_CONSOLE = """
WebSocket connected
[CallbackViewport] Received 1 render image(s)
Image displayed in viewport
"""


def as_javascript(sample: str) -> str:
    """The sample without its types, as a browser takes it."""
    return sample.replace(": any", "")

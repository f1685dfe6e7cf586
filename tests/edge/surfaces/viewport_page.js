// A browser client of an Octane's callbacks as octaneWebR has one: health first, then the WebSocket, `subscribe` 50 ms after it
// has opened, and pixels of three kinds onto a canvas. DOCUMENT is the document's own handler of callbacks.
window.shown = { events: [], images: 0, logged: [], health: null };
const canvas = document.body.appendChild(document.createElement('canvas'));

function decodeBuffer(data) {
  if (data instanceof Uint8Array) return data;
  if (typeof data === 'string') return Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  if (data.type === 'Buffer') return new Uint8Array(data.data);
  throw new Error('Unknown buffer format');
}

function display(image) {
  const bytes = decodeBuffer(image.buffer.data);
  const { x: width, y: height } = image.size;
  if (image.type !== 'IMAGE_TYPE_LDR_RGBA' || bytes.length !== image.pitch * height * 4) throw new Error('bad image');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const drawn = context.createImageData(width, height);
  drawn.data.set(bytes);
  context.putImageData(drawn, 0, 0);
  shown.status = `${width}x${height} | ${(image.buffer.size / 1024).toFixed(1)}KB | ${image.tonemappedSamplesPerPixel.toFixed(1)} spp`;
  shown.kind = image.buffer.data instanceof Uint8Array ? 'binary' : typeof image.buffer.data === 'string' ? 'base64' : 'buffer';
  shown.images += 1;
}

function fromBinary(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const pixels = new Uint8Array(buffer, 4 + length);
  if (header.pixelSize !== pixels.length) throw new Error('bad pixelSize');
  shown.header = header;
  const image = {
    buffer: { data: pixels, size: pixels.length },
    size: { x: header.width, y: header.height },
    type: header.format,
    pitch: header.pitch,
    tonemappedSamplesPerPixel: header.tonemappedSamplesPerPixel,
  };
  return { type: header.type, data: { render_images: { data: [image] }, callback_id: 1, user_data: '0' } };
}

window.connect = async (server, subscribe) => {
  const listeners = {};
  const stream = { on: (name, listener) => (listeners[name] = listener) };
  const client = {
    stream,
    emit(name, data) {
      shown.emitted = name;
      shown.callback = [data.callback_id, data.user_data];
      shown.logged.push(`[CallbackViewport] Received ${data.render_images.data.length} render image(s)`);
      display(data.render_images.data[0]);
      shown.logged.push('Image displayed in viewport');
    },
  };
  new Function('stream', DOCUMENT).call(client, stream);

  const answer = await fetch(`${server}/api/health`, { headers: { 'Content-Type': 'application/json' } });
  if (!answer.ok) throw new Error('Server unhealthy');
  shown.health = await answer.json();
  const socket = new WebSocket(server.replace('http', 'ws') + '/api/callbacks');
  socket.binaryType = 'arraybuffer';
  window.socket = socket;
  socket.onopen = () => {
    shown.logged.push('WebSocket connected');
    setTimeout(() => socket.send(JSON.stringify(subscribe)), 50);
  };
  socket.onmessage = (event) => {
    const message = event.data instanceof ArrayBuffer ? fromBinary(event.data) : JSON.parse(event.data);
    if (message.type !== 'newImage') shown.events.push(message);
    listeners.data({ [message.type]: message.data });
  };
  socket.onclose = (event) => (shown.closed = event.code);
};

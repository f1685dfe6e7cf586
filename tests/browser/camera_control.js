// A component as CompuCyto's document describes its CameraControl.vue: it connects on mount, shows base64 JPEGs, says whether it is
// loading, connected or in error, connects again three seconds after it was disconnected, and has a button that does so at once.
const { createApp, onMounted, onUnmounted, ref } = Vue;

const CameraControl = {
  props: { url: { type: String, required: true } },
  template: `
    <div class="camera">
      <p v-if="loading" id="loading">Connecting to camera…</p>
      <p v-else-if="error" id="error">{{ error }}</p>
      <p v-else id="connected">Connected {{ resolution.width }}x{{ resolution.height }}</p>
      <img v-if="imageUrl" :src="imageUrl" alt="Live" @load="shown += 1">
      <p id="stats">{{ frames }} {{ shown }} {{ Math.round(bytes / 1024) }} KB {{ latency }} ms</p>
      <button @click="connect">Reconnect</button>
    </div>`,
  setup(props) {
    const [loading, error, imageUrl] = [ref(true), ref(""), ref("")];
    const [frames, shown, bytes, latency] = [ref(0), ref(0), ref(0), ref(0)];
    const resolution = ref({});
    let socket = null;
    let timer = null;
    function connect() {
      clearTimeout(timer);
      if (socket) socket.onclose = null;
      socket?.close();
      loading.value = true;
      socket = new WebSocket(props.url);
      socket.onopen = () => socket.send("hello");
      socket.onmessage = (event) => {
        const message = JSON.parse(event.data);
        if (message.type === "connected") {
          resolution.value = message.resolution;
          loading.value = false;
          error.value = "";
        } else if (message.type === "frame") {
          imageUrl.value = `data:image/jpeg;base64,${message.data}`;
          frames.value += 1;
          bytes.value += event.data.length;
          latency.value = Date.now() - message.timestamp;
        } else if (message.type === "error") {
          error.value = message.message;
        }
      };
      socket.onerror = () => { error.value = "Connection error - check if Python camera service is running"; };
      socket.onclose = () => {
        loading.value = true;
        timer = setTimeout(connect, 3000);
      };
    }
    onMounted(connect);
    onUnmounted(() => { clearTimeout(timer); socket?.close(); });
    return { loading, error, imageUrl, frames, shown, bytes, latency, resolution, connect };
  },
};

createApp(CameraControl, { url: new URLSearchParams(location.search).get("url") }).mount("#app");

/* A stand-in for libPxLApi.so of Pixelink, for tests without a camera: it speaks the ABI that the vendor's package
   pixelinkWrapper calls, with the structures that it declares. One camera, serial number 776000123: 1280x1024, colour
   (Bayer) or grey, whose frames count up and show a gradient that moves. fake_* are for tests only. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define SERIAL 776000123u
#define WIDTH 1280
#define HEIGHT 1024

enum {
  SUCCESS = 0,
  PARAMETERS_CHANGED = 1,
  INVALID_HANDLE = (int)0x80000002,
  INVALID_PARAMETER = (int)0x80000003,
  BUFFER_TOO_SMALL = (int)0x80000004,
  NOT_SUPPORTED = (int)0x80000006,
  CAMERA_IN_USE = (int)0x80000007,
  NO_CAMERA = (int)0x80000008,
  INVALID_SERIAL = (int)0x8000000F,
  STREAM_STOPPED = (int)0x80000012,
  OUT_OF_RANGE = (int)0x80000016,
  TIMEOUT = (int)0x9000000C,
  INVALID_FRAME = (int)0x9000000D,
  NOT_WHILE_STREAMING = (int)0x9000001B
};
enum { PRESENCE = 1, MANUAL = 2, AUTO = 4, ONEPUSH = 8, READ_ONLY = 64, WHILE_STREAMING = 128 };
enum { BRIGHTNESS = 0, SATURATION = 5, GAMMA = 6, EXPOSURE = 7, GAIN = 8, TEMPERATURE = 11, FRAME_RATE = 18, ROI = 19,
       PIXEL_FORMAT = 22 };
enum { MONO8 = 0, BAYER8 = 3 };
enum { RAW_MONO8 = 4096, RAW_RGB24 = 4114 };

typedef struct { float least, most; } Parameter;
typedef struct { uint32_t id, flags, count; Parameter *parameters; } Feature;
typedef struct { uint32_t size, count; Feature *features; } Features;

/* FRAME_DESC of PixeLINKTypes.h, as the wrapper's _FrameDesc has it. */
typedef struct {
  uint32_t size;
  float frame_time;
  uint32_t frame_number;
  float brightness, auto_exposure, sharpness, white_balance, hue, saturation, gamma, shutter, gain, iris, focus, temperature;
  float trigger[5], zoom, pan, tilt, optical_filter, gpio[5 * 16], frame_rate, roi[4], flip[2], decimation, pixel_format;
  float extended_shutter[4], auto_roi[4], decimation_mode, white_shading[3], rotate, clock_divisor, trigger_light;
  float max_pixel_size, trigger_number;
  uint32_t image_processing;
  float pixel_addressing[2];
  double frame_time_64;
  uint64_t frame_number_64;
  float bandwidth_limit, actual_frame_rate, sharpness_parameters[5], sharpness_score;
  uint32_t hdr_mode;
  float hdr[2];
  uint32_t polar_filter;
  float polar[4];
  uint32_t polar_hsv;
  float compression[2];
} Descriptor;

static struct {
  int opened, streaming, fault, skip, grey, no_clock, stops;
  uint64_t number;
  double due;
  float brightness, saturation, gamma, exposure, gain, rate, roi[4];
} camera;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void nap(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
  if (seconds > 0)
    nanosleep(&time, 0);
}

/* A clock of the camera's own, which began somewhere else than that of the machine. */
static double camera_clock(void) { return now() + 5000.0; }

void fake_reset(void) {
  memset(&camera, 0, sizeof camera);
  camera.saturation = 100, camera.gamma = 1, camera.exposure = 0.01f, camera.rate = 30;
  camera.roi[2] = WIDTH, camera.roi[3] = HEIGHT;
}
/* A fault: a return code of the next frame; unplugged where it is that of a missing camera. */
void fake_fault(int code) { camera.fault = code; }
void fake_skip(int frames) { camera.skip = frames; }
void fake_grey(int grey) { camera.grey = grey; }
void fake_no_clock(int none) { camera.no_clock = none; }
void fake_occupy(int taken) { camera.opened = taken; }
int fake_opened(void) { return camera.opened; }
int fake_streaming(void) { return camera.streaming; }
unsigned fake_descriptor_size(void) { return sizeof(Descriptor); }

static int gone(int handle) { return handle != 1 || !camera.opened ? INVALID_HANDLE : camera.fault == NO_CAMERA ? NO_CAMERA : 0; }

int PxLInitializeEx(uint32_t serial, void **handle, uint32_t flags) {
  (void)flags;
  if (camera.fault == NO_CAMERA)
    return NO_CAMERA;
  if (serial != SERIAL && serial != 0)
    return INVALID_SERIAL;
  if (camera.opened)
    return CAMERA_IN_USE;
  camera.opened = 1;
  *handle = (void *)1;
  return SUCCESS;
}

int PxLUninitialize(int handle) {
  if (handle != 1 || !camera.opened)
    return INVALID_HANDLE;
  camera.opened = camera.streaming = 0;
  return SUCCESS;
}

static Feature feature_of(int id, Parameter *bounds) {
  Feature feature = {id, PRESENCE | MANUAL | WHILE_STREAMING, 1, bounds};
  switch (id) {
  case BRIGHTNESS: bounds[0] = (Parameter){0, 100}; break;
  case SATURATION: bounds[0] = (Parameter){0, 200}; break;
  case GAMMA: bounds[0] = (Parameter){0.1f, 5}; break;
  case EXPOSURE: bounds[0] = (Parameter){0.0001f, 2}; feature.flags |= ONEPUSH | AUTO; break;
  case GAIN: bounds[0] = (Parameter){0, 24}; break;
  case TEMPERATURE: bounds[0] = (Parameter){-50, 120}; feature.flags = PRESENCE | READ_ONLY; break;
  case FRAME_RATE: bounds[0] = (Parameter){1, 60}; feature.flags &= ~WHILE_STREAMING; break;
  case ROI:
    feature.flags &= ~WHILE_STREAMING, feature.count = 4;
    bounds[0] = (Parameter){0, WIDTH - 32}, bounds[1] = (Parameter){0, HEIGHT - 32};
    bounds[2] = (Parameter){32, WIDTH}, bounds[3] = (Parameter){32, HEIGHT};
    break;
  case PIXEL_FORMAT: bounds[0] = (Parameter){MONO8, BAYER8}; break;
  default: feature.flags = 0, feature.count = 0;
  }
  return feature;
}

int PxLGetCameraFeatures(int handle, uint32_t id, void *into, uint32_t *size) {
  if (gone(handle))
    return gone(handle);
  Parameter bounds[4];
  Feature feature = feature_of(id, bounds);
  uint32_t needed = sizeof(Features) + sizeof(Feature) + feature.count * sizeof(Parameter);
  if (into) {
    if (*size < needed)
      return BUFFER_TOO_SMALL;
    Features *features = into;
    features->size = needed, features->count = 1, features->features = (Feature *)(features + 1);
    *features->features = feature;
    features->features->parameters = (Parameter *)(features->features + 1);
    memcpy(features->features->parameters, bounds, feature.count * sizeof(Parameter));
  }
  *size = needed;
  return SUCCESS;
}

static float *value_of(uint32_t id) {
  static float format, temperature = 41.5f;
  format = camera.grey ? MONO8 : BAYER8;
  switch (id) {
  case BRIGHTNESS: return &camera.brightness;
  case SATURATION: return &camera.saturation;
  case GAMMA: return &camera.gamma;
  case EXPOSURE: return &camera.exposure;
  case GAIN: return &camera.gain;
  case TEMPERATURE: return &temperature;
  case FRAME_RATE: return &camera.rate;
  case ROI: return camera.roi;
  case PIXEL_FORMAT: return &format;
  }
  return 0;
}

int PxLGetFeature(int handle, uint32_t id, uint32_t *flags, uint32_t *count, float *parameters) {
  if (gone(handle))
    return gone(handle);
  Parameter bounds[4];
  Feature feature = feature_of(id, bounds);
  if (!feature.count)
    return NOT_SUPPORTED;
  *flags = feature.flags, *count = feature.count;
  if (parameters)
    memcpy(parameters, value_of(id), feature.count * sizeof(float));
  return SUCCESS;
}

int PxLSetFeature(int handle, uint32_t id, uint32_t flags, uint32_t count, float *parameters) {
  if (gone(handle))
    return gone(handle);
  Parameter bounds[4];
  Feature feature = feature_of(id, bounds);
  if (!feature.count || feature.flags & READ_ONLY)
    return NOT_SUPPORTED;
  if (count != feature.count)
    return INVALID_PARAMETER;
  if (camera.streaming && !(feature.flags & WHILE_STREAMING))
    return NOT_WHILE_STREAMING;
  if (id == EXPOSURE && flags & ONEPUSH) {
    camera.exposure = 0.025f;
    return SUCCESS;
  }
  for (uint32_t i = 0; i < count; i++)
    if (parameters[i] < bounds[i].least || parameters[i] > bounds[i].most)
      return OUT_OF_RANGE;
  memcpy(value_of(id), parameters, count * sizeof(float));
  if (id == GAIN) /* in steps of 1.5 dB, as such cameras have them */
    camera.gain = roundf(camera.gain / 1.5f) * 1.5f;
  if (id == ROI) /* in steps of 8 pixels */
    for (int i = 0; i < 4; i++)
      camera.roi[i] = 8 * floorf(camera.roi[i] / 8);
  return id == GAIN || id == ROI ? PARAMETERS_CHANGED : SUCCESS;
}

int PxLSetStreamState(int handle, uint32_t state) {
  if (gone(handle))
    return gone(handle);
  camera.streaming = state == 0;
  camera.due = now();
  return SUCCESS;
}

int PxLGetNextFrame(int handle, uint32_t size, uint8_t *into, Descriptor *descriptor) {
  if (gone(handle))
    return gone(handle);
  if (!camera.streaming)
    return STREAM_STOPPED;
  if (camera.fault) {
    int code = camera.fault;
    if (code == TIMEOUT)
      nap(0.1); /* until somebody mends it */
    else
      camera.fault = 0;
    return code;
  }
  uint32_t width = camera.roi[2], height = camera.roi[3];
  if (size < width * height)
    return BUFFER_TOO_SMALL;
  if (descriptor->size != sizeof(Descriptor))
    return INVALID_PARAMETER;
  camera.due += 1.0 / camera.rate;
  nap(camera.due - now());
  camera.number += 1 + camera.skip, camera.skip = 0;
  memset((uint8_t *)descriptor + 4, 0, sizeof *descriptor - 4);
  descriptor->frame_number_64 = camera.number, descriptor->frame_number = (uint32_t)camera.number;
  descriptor->frame_time_64 = camera_clock() - camera.exposure, descriptor->frame_time = (float)descriptor->frame_time_64;
  descriptor->shutter = camera.exposure, descriptor->gain = camera.gain;
  descriptor->pixel_format = *value_of(PIXEL_FORMAT);
  memcpy(descriptor->roi, camera.roi, sizeof camera.roi);
  descriptor->pixel_addressing[0] = descriptor->pixel_addressing[1] = 1;
  for (uint32_t y = 0; y < height; y++)
    memset(into + y * width, (int)((y + camera.number) & 255), width);
  return SUCCESS;
}

int PxLFormatImage(const uint8_t *from, const Descriptor *descriptor, uint32_t format, uint8_t *into, uint32_t *size) {
  uint32_t pixels = (uint32_t)descriptor->roi[2] * (uint32_t)descriptor->roi[3];
  uint32_t needed = format == RAW_MONO8 ? pixels : format == RAW_RGB24 ? 3 * pixels : 0;
  if (!needed)
    return NOT_SUPPORTED;
  if (into) {
    if (*size < needed)
      return BUFFER_TOO_SMALL;
    for (uint32_t i = 0; i < needed; i++)
      into[i] = format == RAW_MONO8 || i % 3 == 0 ? from[format == RAW_MONO8 ? i : i / 3] : i % 3 == 1 ? 64 : 0;
  }
  *size = needed;
  return SUCCESS;
}

int PxLGetCurrentTimestamp(int handle, double *time) {
  if (gone(handle))
    return gone(handle);
  if (camera.no_clock)
    return NOT_SUPPORTED;
  *time = camera_clock();
  return SUCCESS;
}

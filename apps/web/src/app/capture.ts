/** Pictures: from the camera, from a file. */
import type { Size } from '../core/bundle.js';

/** RGBA pixels, and what to draw under the overlay. */
export interface Photo {
  readonly name: string;
  readonly size: Size;
  readonly pixels: Uint8ClampedArray;
  readonly picture: CanvasImageSource;
}

const CAMERA_ERRORS: Readonly<Record<string, string>> = {
  NotAllowedError: 'The camera was refused. Allow it in the address bar and press Camera again, or pick a photo.',
  NotFoundError: 'There is no camera. Pick a photo.',
  NotReadableError: 'Another program holds the camera. Close it and press Camera again, or pick a photo.',
  OverconstrainedError: 'The camera gives no picture of this kind. Pick a photo.',
};

/** A running camera. */
export class Camera {
  private constructor(
    private readonly stream: MediaStream,
    readonly video: HTMLVideoElement,
  ) {}

  /** Asks for the rear camera; rejects with a message for people. */
  static async open(): Promise<Camera> {
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    if (devices === undefined) throw new Error('Browsers give the camera to secure pages only: use https or 127.0.0.1, or pick a photo.');
    try {
      const stream = await devices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 1280 } }, audio: false });
      const video = document.createElement('video');
      video.muted = true;
      video.playsInline = true;
      video.srcObject = stream;
      await video.play();
      return new Camera(stream, video);
    } catch (error) {
      const name = error instanceof DOMException ? error.name : '';
      throw new Error(CAMERA_ERRORS[name] ?? `The camera failed: ${String(error)}. Pick a photo.`, { cause: error });
    }
  }

  /** False once the camera was unplugged or taken away. */
  get isLive(): boolean {
    return this.stream.getVideoTracks().some((track) => track.readyState === 'live');
  }

  /** Resolves at the next frame. */
  async nextFrame(): Promise<void> {
    await new Promise<void>((resolve) => {
      const wait = setTimeout(resolve, 500); // a hidden page gets no frames
      this.video.requestVideoFrameCallback(() => {
        clearTimeout(wait);
        resolve();
      });
    });
  }

  close(): void {
    for (const track of this.stream.getTracks()) track.stop();
  }
}

/** Grabs pixels; keeps one canvas, whose size follows the picture: a phone that turns gives turned frames. */
export class Grabber {
  private readonly canvas = document.createElement('canvas');
  private readonly context = this.canvas.getContext('2d', { willReadFrequently: true });

  grab(picture: CanvasImageSource, size: Size, name: string): Photo {
    const [height, width] = size;
    if (this.context === null || height * width === 0) throw new Error('the picture is empty');
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(picture, 0, 0);
    const { data } = this.context.getImageData(0, 0, width, height);
    return { name, size, pixels: data, picture: this.canvas };
  }
}

/** Decodes a picture as it is meant to be seen: turned as its EXIF says. */
export async function decode(blob: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(blob, { imageOrientation: 'from-image', premultiplyAlpha: 'none', colorSpaceConversion: 'none' });
  } catch (error) {
    throw new Error('This file is no picture that the browser can read.', { cause: error });
  }
}

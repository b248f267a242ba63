// Offline after the first load: the bundle and the page come from the network while there is one, the rest from the cache.
const CACHE = 'edgeseg-1';

self.addEventListener('install', () => self.skipWaiting());

self.addEventListener('activate', (event) => {
  const others = caches.keys().then((keys) => Promise.all(keys.filter((key) => key !== CACHE).map((key) => caches.delete(key))));
  event.waitUntil(others.then(() => self.clients.claim()));
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || new URL(request.url).origin !== self.location.origin) return;
  const changes = request.mode === 'navigate' || request.url.includes('/bundle/');
  event.respondWith(changes ? fresh(request) : cached(request));
});

async function fresh(request) {
  try {
    return await keep(request, await fetch(request));
  } catch (error) {
    const kept = await caches.match(request);
    if (kept) return kept;
    throw error;
  }
}

async function cached(request) {
  return (await caches.match(request)) ?? keep(request, await fetch(request));
}

async function keep(request, response) {
  if (response.ok && response.status === 200) {
    const cache = await caches.open(CACHE);
    await cache.put(request, response.clone());
  }
  return response;
}

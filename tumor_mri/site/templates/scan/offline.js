/* Keeps the page for one's own scan, so that it works without a network after the first visit. */
"use strict";
const KEPT = "scan-{{ version }}", FILES = ["scan.html", "scan/runtime.js", "scan/network.js"];
self.addEventListener("install", event => event.waitUntil(caches.open(KEPT).then(cache => cache.addAll(FILES))));
self.addEventListener("activate", event =>
  event.waitUntil(caches.keys().then(names => Promise.all(names.filter(name => name.startsWith("scan-") && name !== KEPT).map(name => caches.delete(name))))));
self.addEventListener("fetch", event => {
  if (FILES.some(file => event.request.url.endsWith(`/${file}`)))
    event.respondWith(fetch(event.request).catch(() => caches.match(event.request)));
});

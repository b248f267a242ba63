declare const __LITERT_VERSION__: string;

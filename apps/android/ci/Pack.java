import com.android.apksig.ApkSigner;
import com.android.apksig.ApkVerifier;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/** Adds code and a bundle to linked resources, signs and aligns the APK, and verifies the signature. */
public final class Pack {
    /** Left out, as in app/build.gradle.kts. */
    private static final Pattern OTHERS = Pattern.compile("\\.onnx$|\\.safetensors$|\\.mlpackage/");

    private static final char[] PASSWORD = "android".toCharArray(); // of a key that lives as long as one CI run

    public static void main(String[] args) throws Exception {
        File base = new File(args[0]), signed = new File(args[4]), unsigned = new File(args[4] + ".unsigned");
        try (ZipFile resources = new ZipFile(base);
                ZipOutputStream apk = new ZipOutputStream(Files.newOutputStream(unsigned.toPath()))) {
            for (ZipEntry entry : resources.stream().toArray(ZipEntry[]::new)) {
                byte[] bytes;
                try (InputStream stream = resources.getInputStream(entry)) {
                    bytes = stream.readAllBytes();
                }
                add(apk, entry.getName(), bytes, entry.getMethod() == ZipEntry.STORED);
            }
            addFolder(apk, Path.of(args[1]), "");
            addFolder(apk, Path.of(args[2]), "assets/bundle.edgeseg/");
        }
        sign(unsigned, signed, new File(args[3]));
        Files.delete(unsigned.toPath());
        ApkVerifier.Result result = new ApkVerifier.Builder(signed).build().verify();
        System.out.printf(
                "signature v2 %b, v3 %b%n", result.isVerifiedUsingV2Scheme(), result.isVerifiedUsingV3Scheme());
        if (!result.isVerified()) {
            throw new IOException("signature refused: " + result.getErrors());
        }
    }

    private static void addFolder(ZipOutputStream apk, Path folder, String prefix) throws IOException {
        try (var paths = Files.walk(folder)) {
            for (Path path : paths.filter(Files::isRegularFile).sorted().toArray(Path[]::new)) {
                String name = prefix + folder.relativize(path).toString().replace(File.separatorChar, '/');
                if (!OTHERS.matcher(name).find()) {
                    add(apk, name, Files.readAllBytes(path), false);
                }
            }
        }
    }

    private static void add(ZipOutputStream apk, String name, byte[] bytes, boolean isStored) throws IOException {
        ZipEntry entry = new ZipEntry(name);
        entry.setTime(0);
        if (isStored) { // resources.arsc is mapped, not unpacked
            CRC32 crc = new CRC32();
            crc.update(bytes);
            entry.setMethod(ZipEntry.STORED);
            entry.setSize(bytes.length);
            entry.setCrc(crc.getValue());
        }
        apk.putNextEntry(entry);
        ((OutputStream) apk).write(bytes);
        apk.closeEntry();
    }

    @SuppressWarnings("deprecation") // the builder that asks how a key is wrapped
    private static void sign(File unsigned, File signed, File keyStore) throws Exception {
        KeyStore store = KeyStore.getInstance(keyStore, PASSWORD);
        PrivateKey key = (PrivateKey) store.getKey("key", PASSWORD);
        X509Certificate certificate = (X509Certificate) store.getCertificate("key");
        ApkSigner.SignerConfig signer = new ApkSigner.SignerConfig.Builder("key", key, List.of(certificate)).build();
        new ApkSigner.Builder(List.of(signer)).setInputApk(unsigned).setOutputApk(signed).build().sign();
    }
}
